"""The entropy stage: symbols to streams and back, in worker processes or on a thread of this one.

Measured on a Kodak picture: writing takes 15 ms of a core and reading 40, the network on a CPU
1400. A worker adds 1 to 2 ms to carry the symbols there and back, and 29 MB of memory. So a CPU
keeps its cores for the network, and a small one has no worker at all: a worker would only spare the
interpreter's lock, which constriction holds, and in this process its calls are cut into chunks of
at most 10 ms. Beside a GPU, whose pace one core could not keep, most cores read and write.

Each worker is an executor of its own that has one job at a time: one that dies takes nothing with
it but its job, and a new one does that job again. A job that is cancelled ends within a fraction of
a second. Large pictures, which take seconds, have a worker of their own.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from multiprocessing import get_context
from typing import TypeVar, TypeVarTuple, Unpack

from .. import machine
from ..metrics import Metrics
from . import entropy_worker
from .costs import is_large
from .errors import UnavailableError
from .timings import CODE_ENTROPY, StageTimer, Timings

_MAX_ATTEMPTS = 3  # a job that is there whenever a worker dies is the likely cause
_MAX_WORKERS = 16
_Arguments = TypeVarTuple("_Arguments")
_T = TypeVar("_T")
_log = logging.getLogger(__name__)


def default_workers(device: str) -> int:
    """Number of worker processes beside a device, from the cores that this process may use."""
    cores = machine.whole_cores()
    return min(max(cores // 4 if device == "cpu" else cores - 2, 0), _MAX_WORKERS)


class EntropyStage:
    """Runs functions of `entropy_worker`, as many at a time as there are workers.

    Args:
        workers: processes for pictures that are not large, beside one for those that are; 0 codes
            on two threads of this process.
        metrics: where deaths are recorded.
        timer: where durations are recorded.
    """

    def __init__(self, workers: int, metrics: Metrics, timer: StageTimer) -> None:
        self._metrics = metrics
        self._timer = timer
        self._in_processes = workers > 0
        self._small: asyncio.LifoQueue[_Worker] = asyncio.LifoQueue()
        self._large: asyncio.LifoQueue[_Worker] = asyncio.LifoQueue()
        self._count = max(workers, 1)
        self._workers: set[_Worker] = set()

    async def start(self, models: Sequence[str]) -> None:
        """Start the workers and have the models' tables ready in each. Raises `WeightsError`."""
        for idle in [self._large, *[self._small] * self._count]:
            idle.put_nowait(self._new())
        loop = asyncio.get_running_loop()
        await asyncio.gather(
            *(loop.run_in_executor(worker.executor, entropy_worker.load, models) for worker in self._workers)
        )

    def close(self) -> None:
        """Stop the workers; call it when nobody waits for their work."""
        for worker in self._workers:
            worker.close()

    async def run(
        self,
        timings: Timings | None,
        function: Callable[[Unpack[_Arguments]], _T],
        *arguments: *_Arguments,
        pixels: int = 0,
    ) -> _T:
        """Run a function on the next free worker. Cancelling ends it.

        Args:
            timings: account of its request.
            function: what to run.
            arguments: of the function.
            pixels: of the picture.

        Raises:
            UnavailableError: every worker dies of it.
            Exception: whatever the function raises.
        """
        large = is_large(pixels)
        idle = self._large if large else self._small
        for _ in range(_MAX_ATTEMPTS):
            asked = time.monotonic()
            worker = await idle.get()
            job: Future[_T] | None = None
            try:
                with self._timer.timed(CODE_ENTROPY, timings, since=asked):
                    call = partial(function, *arguments)
                    submit = worker.executor.submit
                    job = submit(entropy_worker.tidily, call) if large else submit(call)
                    return await asyncio.wrap_future(job)
            except asyncio.CancelledError:
                worker.abandoned.set()
                raise
            except BrokenExecutor:
                _log.error("an entropy worker died in %s; another does its work again", function.__name__)
                self._metrics.entropy_worker_restarted()
                self._workers.discard(worker)
                worker.close()
                worker, job = self._new(), None
            finally:
                self._when_done(job, worker, idle)
        raise UnavailableError("the entropy coder's process died again and again", retry_after=30)

    def _new(self) -> _Worker:
        worker = _Worker(in_process=self._in_processes)
        self._workers.add(worker)
        return worker

    def _when_done(self, job: Future[_T] | None, worker: _Worker, idle: asyncio.LifoQueue[_Worker]) -> None:
        """Have a worker wait for others' jobs as soon as its own has ended."""
        loop = asyncio.get_running_loop()

        def ended() -> None:
            worker.abandoned.clear()
            idle.put_nowait(worker)

        def from_its_thread(_: object) -> None:
            with suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(ended)

        if job is None or job.done():
            ended()
        else:
            job.add_done_callback(from_its_thread)


class _Worker:
    """An executor of one job at a time, and a flag that ends the job."""

    def __init__(self, *, in_process: bool) -> None:
        self.abandoned: entropy_worker.Flag
        self.executor: Executor
        if in_process:
            context = get_context("spawn")  # not fork: this process has threads
            self.abandoned = context.Event()
            self.executor = ProcessPoolExecutor(
                1, context, initializer=entropy_worker.begin_process, initargs=(self.abandoned,)
            )
        else:
            self.abandoned = threading.Event()
            self.executor = ThreadPoolExecutor(
                1, "entropy", initializer=entropy_worker.begin_thread, initargs=(self.abandoned,)
            )

    def close(self) -> None:
        """End its job, if it has one, and then the worker, without waiting for either."""
        self.abandoned.set()
        self.executor.shutdown(wait=False, cancel_futures=True)
