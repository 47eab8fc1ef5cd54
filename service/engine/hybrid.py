"""The hybrid stage: AVIF in the container, on threads of its own.

A search among AVIF files takes seconds, and no image worker should be kept from other requests'
headers for so long. Each encode runs in a process that is ended when nobody waits for it any more.
The device has nothing to do with it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from models import Picture, Stream
from models.hybrid import libaom
from models.hybrid.codec import HybridCodec
from models.hybrid.libaom import SECONDS_PER_MEGAPIXEL, speed_of
from models.progress import Progress
from models.rate_control import Metric

from ..metrics import Metrics
from .image_worker import Job, Limits
from .imaging import WorkerPool
from .timings import ENCODE, SEARCH_AVIF, StageTimer, Timings
from .work import QuantiseTask

MEAN_ENCODES = 4  # encodes that a search takes, in the mean
_First = TypeVar("_First")
_Second = TypeVar("_Second")


class HybridStage:
    """Runs the hybrid codec's searches.

    Args:
        searches: at a time.
        metrics: of the service.
        timer: where durations are recorded.
    """

    def __init__(self, searches: int, metrics: Metrics, timer: StageTimer) -> None:
        self._timer = timer
        self._threads = ThreadPoolExecutor(searches, thread_name_prefix="avif")
        self._workers = WorkerPool(searches, metrics)

    def close(self) -> None:
        """Stop the threads; call it when no work is left."""
        self._workers.close()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def compress(
        self,
        codec: HybridCodec,
        task: QuantiseTask,
        metric: Metric,
        *,
        effort: int,
        until: float,
        timings: Timings,
    ) -> tuple[Stream, int]:
        """Compress a picture to its budget.

        Args:
            codec: what compresses.
            task: the picture, its alpha section and its budget.
            metric: what the bits are spent for.
            effort: 0 to 9, asked for.
            until: when effort should have ended, on `time.monotonic`'s clock.
            timings: account of the request.

        Returns:
            The stream, and the effort that there was time for.
        """
        search = _Search(codec, task, metric, effort, until, self._workers)
        asked = time.monotonic()

        def timed() -> Stream:
            with self._timer.timed(SEARCH_AVIF, timings, since=asked):
                return search.run()

        try:
            running = asyncio.get_running_loop()
            stream = await running.run_in_executor(self._threads, copy_context().run, timed)
        except asyncio.CancelledError:  # a deadline, or a client gone
            search.abandon()
            raise
        return stream, search.effort

    async def encode(self, job: Job, *, pixels: int, timings: Timings) -> bytes:
        """Run one encode of a search for another codec. Raises what `WorkerPool.run` raises."""
        asked = time.monotonic()
        file: bytes = await self._workers.run(
            job, pixels=pixels, timed=lambda: self._timer.timed(ENCODE, timings, since=asked)
        )
        return file


class _Search(Progress):
    """One picture's search, which goes on only while there is time for it and somebody waits.

    Made on the event loop, and run on a thread.

    Attributes:
        effort: 0 to 9; once the search runs, as much of what was asked for as there is time for.
    """

    def __init__(
        self,
        codec: HybridCodec,
        task: QuantiseTask,
        metric: Metric,
        effort: int,
        until: float,
        workers: WorkerPool,
    ) -> None:
        self.effort = effort
        self._codec = codec
        self._task = task
        self._metric: Metric = metric
        self._until = until
        self._workers = workers
        self._loop = asyncio.get_running_loop()
        self._encoding: Future[bytes] | None = None
        self._abandoned = False

    def abandon(self) -> None:
        """End the search: nobody waits any more."""
        self._abandoned = True
        if self._encoding is not None:
            self._encoding.cancel()

    def run(self) -> Stream:
        """Search, on a thread. Raises `CancelledError` when it is abandoned."""
        picture = self._task.picture
        # Each encode must be expected to end in time before it begins.
        while (
            self.effort
            and time.monotonic() + MEAN_ENCODES * _encode_seconds(picture, self.effort) > self._until
        ):
            self.effort -= 1
        return self._codec.encode(
            picture,
            self._task.target,
            metric=self._metric,
            alpha=self._task.alpha,
            effort=self.effort,
            progress=self,
            encoder=self._encode,
        )

    def advance(self, done: int, of: int) -> bool:
        """Go on while another encode would end in time."""
        return time.monotonic() + _encode_seconds(self._task.picture, self.effort) < self._until

    def _encode(self, samples: NDArray[np.uint8], metric: Metric, setting: int, speed: int) -> bytes:
        """Encode in a worker, as `libaom.encode` does."""
        job = Job(libaom.encode, (samples, metric, setting, speed), {}, Limits())
        encoding: Future[bytes] = asyncio.run_coroutine_threadsafe(
            self._workers.run(job, pixels=self._task.picture.pixels), self._loop
        )
        self._encoding = encoding
        if self._abandoned:  # in the meantime
            encoding.cancel()
        return encoding.result()


def _encode_seconds(picture: Picture, effort: int) -> float:
    """Seconds that one encode takes, about."""
    return picture.pixels / 1e6 * SECONDS_PER_MEGAPIXEL[speed_of(effort, picture.pixels)]


async def both(first: Awaitable[_First], second: Awaitable[_Second]) -> tuple[_First, _Second]:
    """Wait for two results at the same time; when either fails, cancel the other."""
    tasks = asyncio.ensure_future(first), asyncio.ensure_future(second)
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
