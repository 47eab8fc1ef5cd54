"""The engine: admission, image threads and the device thread, seen from the event loop.

    admit ── image threads: decode ── device thread: batches ── image threads: encode ── answer
      └─ over the pixel limit: OverloadedError            └─ see `queue` and `device`

All methods are for one event loop, so that the counters need no lock.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, ParamSpec, TypeVar

import numpy as np
import torch

from models import Codec, Picture, Target
from models.errors import UnknownModelError

from ..metrics import Metrics, Stage
from ..settings import Settings
from .device import DeviceThread
from .errors import DeadlineExceededError, OverloadedError, UnavailableError, UnknownProfileError
from .queue import Job, JobQueue, Work
from .work import Compressed, CompressTask, Decompressed, LoadedModel, Measure, Timings

_P = ParamSpec("_P")
_T = TypeVar("_T")


class Engine:
    """Compresses and decompresses for many requests at once. `start` it, `close` it."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self._settings = settings
        self._metrics = metrics
        self._models: dict[str, LoadedModel] = {}
        self._queue = JobQueue(settings.max_batch_pixels)
        self._device = DeviceThread(self._queue, self._load, metrics)
        self._image_threads = ThreadPoolExecutor(settings.image_threads, thread_name_prefix="image")
        self._admitted_pixels = 0
        self._accepting = False
        metrics.queue_images.set_function(lambda: len(self._queue))
        metrics.queue_pixels.set_function(lambda: self._admitted_pixels)

    async def start(self) -> None:
        """Load and warm up the models; raises what that raises."""
        self._device.start()
        await asyncio.wrap_future(self._device.ready)
        self._accepting = True

    async def close(self) -> None:
        """Refuse new work, finish what was accepted, stop the threads."""
        self._accepting = False
        while self._admitted_pixels:  # none stays longer than request_timeout_seconds
            await asyncio.sleep(0.02)
        self._queue.close()
        await asyncio.to_thread(self._device.join, self._settings.stall_seconds)
        self._image_threads.shutdown(wait=False, cancel_futures=True)

    @property
    def ready(self) -> bool:
        """Whether work is accepted: the models are loaded and nobody has asked to stop."""
        return self._accepting and self.alive

    @property
    def alive(self) -> bool:
        """Whether the device thread runs and was seen within `stall_seconds`."""
        return self._device.silence < self._settings.stall_seconds

    @property
    def codecs(self) -> dict[str, Codec]:
        """The loaded codecs by name."""
        return {name: model.codec for name, model in self._models.items()}

    def profile_of(self, model_id: str) -> str:
        """The name of the loaded model with this id (8 hex digits). Raises `UnknownModelError`."""
        for name, model in self._models.items():
            if model.codec.model_id == model_id:
                return name
        raise UnknownModelError(model_id)

    @asynccontextmanager
    async def admit(self, pixels: int) -> AsyncIterator[None]:
        """Hold room for a request's pixels, for as long as a request may take.

        Raises `OverloadedError` when there is no room, `UnavailableError` when no work is accepted, `DeadlineExceededError` when the
        body of the `async with` takes longer than `request_timeout_seconds`.
        """
        if not self.ready:
            raise UnavailableError("the service is shutting down or its device failed", retry_after=10)
        # A single request may be larger than the limit: alone it always enters.
        if self._admitted_pixels and self._admitted_pixels + pixels > self._settings.max_queued_pixels:
            wait = self._device.seconds_per_pixel * self._admitted_pixels
            raise OverloadedError(f"{self._admitted_pixels} pixels are waiting already", retry_after=min(max(wait, 1), 60))
        self._admitted_pixels += pixels
        try:
            async with asyncio.timeout(self._settings.request_timeout_seconds) as limit:
                yield
        except TimeoutError as error:
            if not limit.expired():
                raise
            raise DeadlineExceededError("the request took too long", retry_after=5) from error
        finally:
            self._admitted_pixels -= pixels

    async def on_image_thread(self, stage: Stage, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Run what reads or writes image files off the event loop, and record its duration as `stage`."""

        def timed() -> _T:
            with self._metrics.stage_timer(stage):
                return function(*args, **kwargs)

        return await asyncio.get_running_loop().run_in_executor(self._image_threads, timed)

    async def compress(self, picture: Picture, target: Target, *, profile: str, report: frozenset[Measure] = frozenset()) -> Compressed:
        """One picture to its budget. Raises `UnknownProfileError`, `CodecError`s."""
        work = self.model(profile).compress
        made, timings = await self._run(work, CompressTask(picture, target, report), picture.pixels)
        result: Compressed = replace(made, timings=timings)
        self._metrics.compressed(result.stream)
        return result

    async def decompress(self, stream: bytes, *, profile: str, pixels: int) -> Decompressed:
        """The picture in a stream that was made with `profile`. Raises `UnknownProfileError`, `BitstreamError`s."""
        picture, timings = await self._run(self.model(profile).decompress, stream, pixels)
        self._metrics.decompressed(pixels, len(stream))
        return Decompressed(picture, timings)

    def model(self, profile: str) -> LoadedModel:
        """The loaded model of this name. Raises `UnknownProfileError`."""
        if profile not in self._models:
            raise UnknownProfileError(f"profile {profile!r} is not loaded; there is {', '.join(self._models)}")
        return self._models[profile]

    async def _run(self, work: Work, task: object, pixels: int) -> tuple[Any, Timings]:
        # Cancelling this await (a deadline, a client gone) cancels the job's future, and the queue then drops it.
        job = Job(work, task, pixels, deadline=time.monotonic() + self._settings.request_timeout_seconds)
        self._queue.put(job)
        result = await asyncio.wrap_future(job.future)
        return result, Timings(job.queue_seconds, job.device_seconds)

    def _load(self) -> None:
        """In the device thread: PyTorch's thread count belongs to the thread that sets it."""
        if self._settings.threads is not None:
            torch.set_num_threads(self._settings.threads)
        for name in self._settings.models:
            codec = Codec.load(name, device=self._settings.device)
            warm_up = Picture.from_array(np.full((64, 64, 3), 128, np.uint8))
            codec.decode([codec.encode([warm_up], [Target(quality=50)])[0].data])
            self._models[name] = LoadedModel(codec)
            self._metrics.model_loaded(name, codec.model_id, str(codec.device))
