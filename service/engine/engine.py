"""Engine: the conductor with its parts, from start to stop, and the door where requests are admitted.

Everything here is for one event loop, so that the counters need no lock.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

import torch

from ..metrics import Metrics
from ..settings import Settings
from .admission import Admission
from .conductor import Conductor
from .device import DeviceThread
from .effort import cost
from .entropy import EntropyStage, default_workers
from .errors import UnavailableError
from .hybrid import HybridStage
from .loaded import Models
from .queue import JobQueue

# On a CPU, batches of photographs take longer than one after the other, out of the caches: 16 to 26 % on Kodak. Thumbnails gain.
CPU_BATCH_PIXELS = 400_000  # a photograph of Kodak size goes alone, 24 thumbnails of 128x128 together
GPU_BATCH_PIXELS = 4_000_000
MAX_LANES = 4  # each may hold 0.8 GB of activations

_log = logging.getLogger(__name__)


class Engine(Conductor):
    """A conductor with all its parts. `start` it, `close` it.

    Attributes:
        models: loaded once it has started.
    """

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self._settings = settings
        on_cpu = torch.device(settings.device).type == "cpu"
        models = Models(settings, metrics)
        queue = JobQueue(settings.max_batch_pixels or (CPU_BATCH_PIXELS if on_cpu else GPU_BATCH_PIXELS))
        workers = default_workers(settings.device) if settings.entropy_workers is None else settings.entropy_workers
        self._pool = ThreadPoolExecutor(settings.image_threads, thread_name_prefix="image")
        super().__init__(
            models=models,
            queue=queue,
            device=DeviceThread(queue, models.load, metrics, lanes=_lanes(settings, on_cpu=on_cpu)),
            entropy=EntropyStage(workers, metrics),
            hybrid=HybridStage(settings.image_threads, metrics),
            image_threads=self._pool,
            metrics=metrics,
            timeout_seconds=settings.request_timeout_seconds,
        )
        self._admission = Admission(
            max_requests=settings.max_queued_requests,
            max_pixels=settings.max_queued_pixels,
            timeout=settings.request_timeout_seconds,
            seconds_per_pixel=lambda: self._device.seconds_per_pixel,
        )
        metrics.watch_queue(
            images=lambda: len(self._queue),
            pixels=lambda: self._admission.pixels,
            oldest_age=lambda: self._queue.oldest_age,
            max_pixels=settings.max_queued_pixels,
        )
        metrics.watch_device(settings.device, up=lambda: self.alive, heartbeat_age=lambda: self._device.silence)

    async def start(self) -> None:
        """Load and warm up the models; raises what that raises."""
        self._device.start()
        try:
            await asyncio.gather(asyncio.wrap_future(self._device.ready), self._entropy.start(self._settings.models))
        except Exception as error:  # the server's traceback is long, and what is wrong is at its end
            _log.critical("cannot load %s on %s: %s", ", ".join(self._settings.models), self._settings.device, error)
            raise
        self.accepting = True

    async def close(self) -> None:
        """Refuse new work, finish what was accepted, stop the threads."""
        self.accepting = False
        while self._admission.requests:  # none stays longer than request_timeout_seconds
            await asyncio.sleep(0.02)
        self._queue.close()
        await asyncio.to_thread(self._device.join, self._settings.stall_seconds)
        self._entropy.close()
        self._hybrid.close()
        self._pool.shutdown(wait=False, cancel_futures=True)

    @property
    def ready(self) -> bool:
        """Whether work is accepted: the models are loaded and nobody has asked to stop."""
        return self.accepting and self.alive

    @property
    def alive(self) -> bool:
        """Whether the device thread runs and was seen within `stall_seconds`."""
        return self._device.silence < self._settings.stall_seconds

    def check_room(self) -> None:
        """Raises `OverloadedError` or `UnavailableError` when `admit` would do so whatever the number of pixels."""
        if not self.ready:
            raise UnavailableError("the service is shutting down or its device failed", retry_after=10)
        self._admission.check()

    @asynccontextmanager
    async def admit(self, pixels: int, *, effort: int = 0) -> AsyncIterator[float]:
        """Hold room for a request, for as long as a request may take; gives its deadline, for `compress` and `decompress`.

        Raises `OverloadedError` when there is no room, `UnavailableError` when no work is accepted, `DeadlineExceededError` when the
        body of the `async with` takes longer than `request_timeout_seconds`.
        """
        self.check_room()
        async with self._admission.admit(pixels, pixels * cost(effort)) as deadline:
            yield deadline


def _lanes(settings: Settings, *, on_cpu: bool) -> int:
    """Device threads: on a CPU one for each core, unless the settings say otherwise."""
    if settings.device_threads is not None:
        return settings.device_threads
    return min(settings.threads or torch.get_num_threads(), MAX_LANES) if on_cpu else 1
