"""The engine: what is loaded and where it runs, from start to stop, and who is let in.

    request ── admission ── `PictureCoder` ── `Stages`: device, entropy coder, image workers
               └─ no room: OverloadedError

All methods are for one event loop, so that the counters need no lock.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, contextmanager

from ..metrics import Metrics
from ..settings import Settings
from .admission import Admission
from .coder import PictureCoder
from .costs import Cost
from .deadline import deadline
from .errors import UnavailableError
from .loaded import Models
from .stages import Stages

_log = logging.getLogger(__name__)


class Engine:
    """Compresses and decompresses for many requests at once. `start` it, `close` it.

    Attributes:
        models: what is loaded, once it has started.
        stages: where requests run.
        coder: pictures to streams and back.
    """

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self._settings = settings
        self._accepting = False
        self.models = Models(settings, metrics)
        self.stages = Stages(settings, metrics, self.models.load)
        self.coder = PictureCoder(
            settings, metrics, self.models, self.stages, accepting=lambda: self._accepting
        )
        self._admission = Admission(
            max_requests=settings.max_queued_requests,
            max_pixels=settings.max_queued_pixels,
            max_seconds=settings.request_timeout_seconds,
            seconds_per_pixel=lambda: self.stages.device.seconds_per_pixel,
            best_seconds_per_pixel=lambda: self.stages.device.best_seconds_per_pixel,
        )
        metrics.watch_queue(
            images=lambda: len(self.stages.queue),
            pixels=lambda: self._admission.pixels,
            oldest_age=lambda: self.stages.queue.oldest_age,
            max_pixels=settings.max_queued_pixels,
        )
        metrics.watch_device(
            settings.device, up=lambda: self.alive, heartbeat_age=lambda: self.stages.device.silence
        )

    async def start(self) -> None:
        """Load and warm up the models; raises what that raises."""
        models = self._settings.models
        try:
            await self.stages.start(models)
        except Exception as error:  # the server's traceback is long, and tells it at its end
            _log.critical("cannot load %s on %s: %s", ", ".join(models), self._settings.device, error)
            raise
        self._accepting = True

    async def close(self) -> None:
        """Refuse new work, finish what was accepted, stop the threads."""
        self._accepting = False
        while self._admission.requests:  # none stays longer than request_timeout_seconds
            await asyncio.sleep(0.02)
        await self.stages.close(self._settings.stall_seconds)

    @property
    def ready(self) -> bool:
        """True while work is accepted: the models are loaded and nobody has asked to stop."""
        return self._accepting and self.alive

    @property
    def alive(self) -> bool:
        """True while the device thread runs and was seen within `stall_seconds`."""
        return self.stages.device.silence < self._settings.stall_seconds

    def check_room(self) -> None:
        """Refuse when `admit` would refuse whatever the cost.

        Raises:
            OverloadedError: there is no room.
            UnavailableError: no work is accepted.
        """
        if not self.ready:
            raise UnavailableError("the service is shutting down or its device failed", retry_after=10)
        self._admission.check()

    def deadline(self) -> AbstractAsyncContextManager[float]:
        """Begin the time that a request has, `request_timeout_seconds` for all of it.

        To be entered when the last byte of the request has come. Gives the deadline, on
        `time.monotonic`'s clock.

        Raises:
            DeadlineExceededError: the body of the `async with` takes longer.
        """
        return deadline(self._settings.request_timeout_seconds, self._admission.retry_after)

    @contextmanager
    def admit(self, cost: Cost) -> Iterator[None]:
        """Hold room for a request while the body of the `with` runs.

        Raises:
            TooCostlyError: it would take longer than a request may.
            OverloadedError: there is no room.
            UnavailableError: no work is accepted.
        """
        self.check_room()
        with self._admission.admit(cost):
            yield
