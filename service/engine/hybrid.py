"""The hybrid stage: AVIF in the container, on threads of its own.

One search among AVIF files takes seconds, and nobody's header should wait for one; nor has the device anything to do with it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from models import Picture, Stream
from models.hybrid.codec import HybridCodec
from models.hybrid.libaom import SECONDS_PER_MEGAPIXEL, speed_of
from models.progress import Progress
from models.rate_control import Metric

from ..metrics import Metrics
from .work import QuantiseTask

MEAN_ENCODES = 4  # that a search takes
_T = TypeVar("_T")


class HybridStage:
    """Runs the hybrid codec.

    Args:
        threads: searches at a time.
        metrics: where durations are recorded.
    """

    def __init__(self, threads: int, metrics: Metrics) -> None:
        self._metrics = metrics
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="avif")

    def close(self) -> None:
        """Stop the threads; call it when no work is left."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def compress(self, codec: HybridCodec, task: QuantiseTask, metric: Metric, *, effort: int, until: float) -> tuple[Stream, int]:
        """Compress a picture to its budget; gives also the effort that there was time for.

        `until` is on `time.monotonic`'s clock.
        """
        search = _Search(codec, task, metric, effort, until)
        try:
            stream = await asyncio.get_running_loop().run_in_executor(self._threads, search.run, self._metrics)
        except asyncio.CancelledError:  # a deadline, or a client gone
            search.abandoned = True
            raise
        return stream, search.effort


class _Search(Progress):
    """One picture's search: with less effort where the time is short, to its end only while somebody waits."""

    def __init__(self, codec: HybridCodec, task: QuantiseTask, metric: Metric, effort: int, until: float) -> None:
        self.effort = effort
        self.abandoned = False
        self._codec = codec
        self._task = task
        self._metric = metric
        self._until = until

    def run(self, metrics: Metrics) -> Stream:
        picture = self._task.picture
        with metrics.stage_timer("encode"):
            # An encode cannot be stopped: what is begun should end in time.
            while self.effort and time.monotonic() + MEAN_ENCODES * _seconds(picture, self.effort) > self._until:
                self.effort -= 1
            return self._codec.encode(
                picture, self._task.target, metric=self._metric, alpha=self._task.alpha, effort=self.effort, progress=self
            )

    def advance(self, done: int, of: int) -> bool:
        """Go on while somebody waits and another encode would end in time."""
        return not self.abandoned and time.monotonic() + _seconds(self._task.picture, self.effort) < self._until


def _seconds(picture: Picture, effort: int) -> float:
    return picture.pixels / 1e6 * SECONDS_PER_MEGAPIXEL[speed_of(effort, picture.pixels)]


async def both(first: Awaitable[_T], second: Awaitable[_T]) -> tuple[_T, _T]:
    """Work for two results at the same time; when one fails the other is given up."""
    tasks = [asyncio.ensure_future(work) for work in (first, second)]
    try:
        first_result, second_result = await asyncio.gather(*tasks)
        return first_result, second_result
    finally:
        for task in tasks:
            task.cancel()
