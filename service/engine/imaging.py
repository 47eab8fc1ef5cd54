"""Processes in which image files are read and written, and which can be killed.

A file of a few bytes can keep a decoder busy for minutes, take gigabytes, or crash it. In a process
of its own it takes nothing with it but its job, and it ends when nobody waits for it any more. That
costs a few milliseconds for a photograph, which goes through a socket.

A worker has one job at a time. Large pictures leave one worker to the small ones of others. A new
worker is a fork of a process that has everything imported and nothing else: it is there in
milliseconds, and shares most of its memory.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, AsyncExitStack, contextmanager, nullcontext, suppress
from multiprocessing import get_context
from multiprocessing.util import Finalize
from types import ModuleType
from typing import Any, TypeVar, cast

from ..metrics import Metrics
from . import image_worker
from .costs import is_large
from .errors import TooCostlyFileError, WorkerDiedError
from .image_worker import Job, Limits

# Ordinary files take less than a tenth of this on a slow core, and their headers a hundredth.
_HEADER_SECONDS = 1.0
_SECONDS = 4.0
_SECONDS_PER_MEGAPIXEL = 3.0
# A decoder holds its planes beside the picture in two or three modes: about half of this.
_BYTES = 512 * 2**20
_BYTES_PER_PIXEL = 40
_GRACE_SECONDS = 0.5  # for a job that nobody waits for: most end within it, and spare a new worker

_T = TypeVar("_T")
_log = logging.getLogger(__name__)
_processes = get_context("forkserver")
_starting = threading.Lock()


def limits(pixels: int) -> Limits:
    """Compute what a job on a picture may cost; 0 pixels for a header alone."""
    seconds = _SECONDS + _SECONDS_PER_MEGAPIXEL * pixels / 1e6 if pixels else _HEADER_SECONDS
    return Limits(seconds, _BYTES + _BYTES_PER_PIXEL * pixels)


class WorkerPool:
    """Runs functions in other processes, as many at a time as there are workers.

    For one event loop. Functions, arguments, results and errors must be picklable.

    Args:
        workers: processes, each started when it is first needed.
        metrics: where deaths are recorded.
    """

    def __init__(self, workers: int, metrics: Metrics) -> None:
        self._metrics = metrics
        self._workers = [_Worker() for _ in range(workers)]
        self._idle: asyncio.LifoQueue[_Worker] = asyncio.LifoQueue()
        for worker in self._workers:
            self._idle.put_nowait(worker)
        self._room_for_large = asyncio.Semaphore(max(1, workers - 1))
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="image")
        self._ending: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Have all workers ready."""
        await asyncio.gather(*(self.run(Job(int, (), {}, Limits()), pixels=0) for _ in self._workers))

    def close(self) -> None:
        """End the workers, whatever they do."""
        for worker in self._workers:
            worker.kill()
        self._threads.shutdown(wait=True, cancel_futures=True)
        for worker in self._workers:
            worker.bury()

    async def run(
        self,
        job: Job,
        *,
        pixels: int,
        timed: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> Any:
        """Do a job in the next free worker. Cancelling it ends the work.

        Args:
            job: what to do.
            pixels: of its picture, which decide whether it counts as large.
            timed: makes a context that is entered when a worker is free.

        Returns:
            The function's result.

        Raises:
            TooCostlyFileError: it takes too much processor time.
            MemoryError: it takes too much memory.
            WorkerDiedError: its process ends of it in another way.
            Exception: whatever the function raises.
        """
        async with AsyncExitStack() as room:
            if is_large(pixels):
                await room.enter_async_context(self._room_for_large)
            worker = await self._idle.get()
            with timed():
                well, result = await self._done(worker, job, last=is_large(pixels))
        if not well:
            raise cast(Exception, result)
        return result

    async def _done(self, worker: _Worker, job: Job, *, last: bool) -> tuple[bool, object]:
        """Do a job on a worker, which is idle again afterwards.

        If it is the process's last one, its memory is free again: an allocator might keep it.
        """
        answer = asyncio.get_running_loop().run_in_executor(self._threads, worker.do, job, last)
        ended = True
        try:
            return await asyncio.shield(answer)
        except asyncio.CancelledError:
            ended = False
            ending = asyncio.create_task(self._end(worker, answer))
            self._ending.add(ending)
            ending.add_done_callback(self._ending.discard)
            raise
        except (EOFError, OSError):
            raise self._death(worker, job) from None
        except Exception:  # of this side: half a message may be on its way
            worker.kill()
            worker.bury()
            raise
        finally:
            if ended:
                self._idle.put_nowait(worker)

    async def _end(self, worker: _Worker, answer: asyncio.Future[tuple[bool, object]]) -> None:
        """Wait a moment for a job that nobody waits for, then end its worker."""
        await asyncio.wait([answer], timeout=_GRACE_SECONDS)
        if not answer.done():
            worker.kill()
            self._metrics.image_worker_restarted()
        with suppress(Exception):
            await answer
        if worker.killed:
            worker.bury()
        self._idle.put_nowait(worker)

    def _death(self, worker: _Worker, job: Job) -> Exception:
        code = worker.bury()
        self._metrics.image_worker_restarted()
        if code == -signal.SIGPROF:
            limit = f"{job.limits.cpu_seconds:.0f} seconds of processor time"
            return TooCostlyFileError(f"the image takes more than {limit}, which is far beyond its size")
        _log.error("an image worker died in %s, code %s", job.function.__name__, code)
        return WorkerDiedError("the process that had the image died", retry_after=5)


class _Worker:
    """One process, started when it is first needed, and anew after it was buried.

    Attributes:
        killed: it was, and is not buried yet.
    """

    def __init__(self) -> None:
        self.killed = False
        self._process: Any = None
        self._connection: socket.socket | None = None
        self._at_exit: Any = None

    def do(self, job: Job, last: bool) -> tuple[bool, object]:
        """Have a job done, perhaps as the process's last one.

        Raises `EOFError` or `OSError` when the process ends of it.
        """
        if self._connection is None:
            self._start()
        assert self._connection is not None
        image_worker.send(self._connection, job)
        answer = image_worker.receive(self._connection)
        if last:
            self.kill()
            self.bury()
        return cast(tuple[bool, object], answer)

    def kill(self) -> None:
        """End the process. Whoever waits for its answer gets `EOFError`."""
        if self._process is not None:
            self.killed = True
            self._process.kill()

    def bury(self) -> int | None:
        """Clear away after a process that ends; returns its exit code, negative for a signal."""
        process, connection = self._process, self._connection
        self._process = self._connection = None
        self.killed = False
        if process is None or connection is None:
            return None
        self._at_exit.cancel()
        connection.close()
        process.join()
        code: int | None = process.exitcode
        process.close()
        return code

    def _start(self) -> None:
        _processes.set_forkserver_preload([image_worker.__name__])
        self._connection, theirs = socket.socketpair()
        with theirs, _no_main_module():
            process = _processes.Process(target=image_worker.serve, args=(theirs,), daemon=True)
            process.start()
        # Workers pass over SIGTERM, with which multiprocessing would end them at the exit.
        self._at_exit = Finalize(None, process.kill, exitpriority=1)
        self._process = process


@contextmanager
def _no_main_module() -> Iterator[None]:
    """Hide the program's main module from processes that start in the body of the `with`.

    They need nothing of it. multiprocessing would import it in each of them: a program that starts
    the service without `if __name__ == "__main__"` would start it again there.
    """
    with _starting:
        main = sys.modules["__main__"]
        sys.modules["__main__"] = ModuleType("__main__")
        try:
            yield
        finally:
            sys.modules["__main__"] = main
