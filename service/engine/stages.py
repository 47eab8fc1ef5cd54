"""Every place off the event loop where a request's stages run, behind one object.

    image workers       headers, decoding, encoding of image files
    device threads      networks, in batches
    entropy workers     symbols to streams and back
    AVIF threads        searches of the hybrid codec, which encode in workers of their own;
                        other searches encode there, too
    threads             what is quick and of ours: headers of streams, archives
    the store           waits for a disk or a bucket, on the event loop itself

Whatever runs here is measured here, once: `StageTimer` tells Prometheus, the request and its trace
alike.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from contextvars import copy_context
from typing import ParamSpec, TypeVar, TypeVarTuple, Unpack

import torch

from models import Stream
from models.hybrid.codec import HybridCodec
from models.rate_control import Metric

from .. import tracing
from ..metrics import Metrics
from ..settings import Settings
from . import image_worker, watched
from .device import DeviceThread
from .entropy import EntropyStage, default_workers
from .errors import OutOfMemoryError
from .hybrid import HybridStage
from .imaging import WorkerPool, limits
from .loaded import network_threads
from .queue import Job, JobQueue
from .timings import STORE, StageTimer, Step, Timings
from .work import QuantiseTask

# On a CPU, batches of photographs take longer than one after the other, out of the caches: 16 to
# 26 % on Kodak. Thumbnails gain. So a photograph of Kodak size goes alone, 24 thumbnails of 128x128
# together.
CPU_BATCH_PIXELS = 400_000
GPU_BATCH_PIXELS = 4_000_000
MAX_LANES = 4  # each may hold 0.8 GB of activations
_THREADS = 2

_P = ParamSpec("_P")
_T = TypeVar("_T")
_Task = TypeVar("_Task")
_Arguments = TypeVarTuple("_Arguments")


class Stages:
    """Runs stages. `start` it, `close` it; its methods are for one event loop.

    A method's `timings` is the account of the request that it works for; None where none is kept.

    Args:
        settings: of the service.
        metrics: of the service.
        load: runs first on the device, before any job.

    Attributes:
        queue: of jobs for the device.
        device: the device threads.
    """

    def __init__(self, settings: Settings, metrics: Metrics, load: Callable[[], float]) -> None:
        on_cpu = torch.device(settings.device).type == "cpu"
        default_lanes = min(network_threads(settings), MAX_LANES) if on_cpu else 1
        workers = (
            default_workers(settings.device) if settings.entropy_workers is None else settings.entropy_workers
        )
        self._timer = StageTimer(metrics)
        self.queue = JobQueue(settings.max_batch_pixels or (CPU_BATCH_PIXELS if on_cpu else GPU_BATCH_PIXELS))
        self.device = DeviceThread(self.queue, load, metrics, lanes=settings.device_threads or default_lanes)
        self._entropy = EntropyStage(workers, metrics, self._timer)
        self._images = WorkerPool(settings.image_workers, metrics)
        self._hybrid = HybridStage(settings.image_workers, metrics, self._timer)
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="quick")

    async def start(self, models: Sequence[str]) -> None:
        """Load the models everywhere; raises what that raises."""
        self.device.start()
        await asyncio.gather(
            asyncio.wrap_future(self.device.ready), self._entropy.start(models), self._images.start()
        )

    async def close(self, patience: float) -> None:
        """Stop everything; waits at most `patience` seconds for the device."""
        self.queue.close()
        await asyncio.to_thread(self.device.join, patience)
        self._entropy.close()
        self._hybrid.close()
        self._images.close()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def in_image_worker(
        self,
        step: Step,
        timings: Timings | None,
        pixels: int,
        function: Callable[_P, _T],
        *args: _P.args,
        **kwargs: _P.kwargs,
    ) -> _T:
        """Run a function that reads or writes an image file, where cancelling ends its work.

        Args:
            step: what the function does.
            timings: account of the request.
            pixels: of the picture; 0 for its header alone.
            function: of a module that `image_worker` imports.
            args: of the function.
            kwargs: of the function.

        Raises what `WorkerPool.run` raises; without memory, `OutOfMemoryError`.
        """
        asked = time.monotonic()
        watched.enter(step.name)
        job = image_worker.Job(function, args, kwargs, limits(pixels))
        with _memory_errors_typed():
            result: _T = await self._images.run(
                job, pixels=pixels, timed=lambda: self._timer.timed(step, timings, since=asked)
            )
        return result

    async def encode_beside(
        self,
        timings: Timings,
        pixels: int,
        function: Callable[[Unpack[_Arguments]], bytes],
        *arguments: *_Arguments,
    ) -> bytes:
        """Run one encode of a search; cancelling ends its work.

        It has the limits of an image worker's jobs, and the processes of the hybrid codec's
        searches: nobody is kept from reading and writing pictures.
        """
        watched.enter("encode")
        job = image_worker.Job(function, arguments, {}, limits(pixels))
        with _memory_errors_typed():
            return await self._hybrid.encode(job, pixels=pixels, timings=timings)

    async def on_thread(
        self,
        step: Step,
        timings: Timings | None,
        function: Callable[_P, _T],
        *args: _P.args,
        **kwargs: _P.kwargs,
    ) -> _T:
        """Run a function of ours that is quick whatever its input."""
        asked = time.monotonic()

        def timed() -> _T:
            with self._timer.timed(step, timings, since=asked):
                return function(*args, **kwargs)

        with _memory_errors_typed():
            return await asyncio.get_running_loop().run_in_executor(self._threads, copy_context().run, timed)

    async def on_device(self, job: Job[_Task, _T], timings: Timings | None) -> _T:
        """Run a job on the device, in a batch with others. Cancelling takes it out of the queue."""
        self.queue.put(job)
        watched.enter("device", ahead=lambda: self.queue.ahead_of(job))
        try:
            result = await asyncio.wrap_future(job.future)
        except asyncio.CancelledError:  # a deadline, or a client gone; the future knows already
            self.queue.discard(job)
            raise
        if timings is not None:
            timings.add("queue", job.queue_seconds)
            timings.add("device", job.device_seconds)
        if (trace := tracing.current()) is not None:
            begun = job.queued_at + job.queue_seconds
            trace.stage("queue", job.queued_at, begun)
            trace.stage("device", begun, begun + job.device_seconds)
        return result

    async def in_entropy_coder(
        self,
        timings: Timings | None,
        function: Callable[[Unpack[_Arguments]], _T],
        *arguments: *_Arguments,
        pixels: int = 0,
    ) -> _T:
        """Run a function of `entropy_worker` for a picture of so many pixels.

        Cancelling ends its work.
        """
        watched.enter("entropy")
        with _memory_errors_typed():
            return await self._entropy.run(timings, function, *arguments, pixels=pixels)

    async def search_avif(
        self,
        codec: HybridCodec,
        task: QuantiseTask,
        metric: Metric,
        *,
        effort: int,
        until: float,
        timings: Timings,
    ) -> tuple[Stream, int]:
        """Compress with the hybrid codec; see `HybridStage.compress`."""
        watched.enter("avif")
        with _memory_errors_typed():
            return await self._hybrid.compress(
                codec, task, metric, effort=effort, until=until, timings=timings
            )

    def in_store(self, timings: Timings | None = None) -> AbstractContextManager[None]:
        """Measure the body of the `with`, which waits for the store."""
        watched.enter("store")
        return self._timer.timed(STORE, timings)


@contextmanager
def _memory_errors_typed() -> Iterator[None]:
    """Raise `OutOfMemoryError` where memory beside the device is lacking, as the device does."""
    try:
        yield
    except MemoryError as error:
        raise OutOfMemoryError("the server has not enough memory for this picture", retry_after=30) from error
