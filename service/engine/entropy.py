"""The entropy stage: symbols to streams and back, in worker processes or on a thread of this one.

Measured on a Kodak picture: writing takes 15 ms of a core and reading 40, the network on a CPU
1400. A worker adds 1 to 2 ms to carry the symbols there and back, and 29 MB of memory. So a CPU
keeps its cores for the network, and a small one has no worker at all: a worker would only spare the
interpreter's lock, which constriction holds, and in this process its calls are cut into chunks of
at most 10 ms. Beside a GPU, whose pace one core could not keep, most cores read and write.

Each worker is an executor of its own that has one job at a time: one that dies takes nothing with
it but its job, and a new one does that job again.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import BrokenExecutor, Executor, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from typing import TypeVar, TypeVarTuple, Unpack

from ..metrics import Metrics
from . import child, entropy_worker
from .errors import UnavailableError
from .timings import CODE_ENTROPY, StageTimer, Timings

_MAX_ATTEMPTS = 3  # a job that is there whenever a worker dies is the likely cause
_MAX_WORKERS = 16
_Arguments = TypeVarTuple("_Arguments")
_T = TypeVar("_T")
_log = logging.getLogger(__name__)


def default_workers(device: str) -> int:
    """Number of worker processes beside a device, from the cores that this process may use."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(max(cores // 4 if device == "cpu" else cores - 2, 0), _MAX_WORKERS)


class EntropyStage:
    """Runs functions of `entropy_worker`, as many at a time as there are workers.

    Args:
        workers: processes; 0 codes on a thread of this one.
        metrics: where deaths are recorded.
        timer: where durations are recorded.
    """

    def __init__(self, workers: int, metrics: Metrics, timer: StageTimer) -> None:
        self._metrics = metrics
        self._timer = timer
        self._new: Callable[[], Executor] = _process if workers else _thread
        self._idle: asyncio.LifoQueue[Executor] = asyncio.LifoQueue()
        self._count = max(workers, 1)

    async def start(self, models: Sequence[str]) -> None:
        """Start the workers and have the models' tables ready in each. Raises `WeightsError`."""
        workers = [self._new() for _ in range(self._count)]
        for worker in workers:
            self._idle.put_nowait(worker)
        loop = asyncio.get_running_loop()
        await asyncio.gather(
            *(loop.run_in_executor(worker, entropy_worker.load, models) for worker in workers)
        )

    def close(self) -> None:
        """Stop the workers; call it when no work is left."""
        while not self._idle.empty():
            self._idle.get_nowait().shutdown(wait=False, cancel_futures=True)

    async def run(
        self, timings: Timings | None, function: Callable[[Unpack[_Arguments]], _T], *arguments: *_Arguments
    ) -> _T:
        """Run a function on the next free worker; `timings` is the account of its request.

        Raises:
            UnavailableError: every worker dies of it.
            Exception: whatever the function raises.
        """
        for _ in range(_MAX_ATTEMPTS):
            asked = time.monotonic()
            worker = await self._idle.get()
            try:
                with self._timer.timed(CODE_ENTROPY, timings, since=asked):
                    return await asyncio.get_running_loop().run_in_executor(worker, function, *arguments)
            except BrokenExecutor:
                _log.error("an entropy worker died in %s; another does its work again", function.__name__)
                self._metrics.entropy_worker_restarted()
                worker.shutdown(wait=False)
                worker = self._new()
            finally:
                self._idle.put_nowait(worker)
        raise UnavailableError("the entropy coder's process died again and again", retry_after=30)


def _process() -> Executor:
    # Workers share the cores by being many. NumPy has read the variable in this process already,
    # but not yet in theirs.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # Not fork: this process has threads.
    return ProcessPoolExecutor(1, get_context("spawn"), initializer=child.begin)


def _thread() -> Executor:
    return ThreadPoolExecutor(1, thread_name_prefix="entropy")
