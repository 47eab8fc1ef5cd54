"""Supervisor of `ziggurat serve --workers N`: forks server processes, replaces those that die.

    supervisor ── fork ──► worker 0 ┐
                  fork ──► worker 1 ┴ accept from the listener that all have in common

The supervisor has imported what the workers need and has run nothing: no thread, no event loop, no
operation of PyTorch, whose thread pools do not survive a fork. So it can fork at any time, and what
it has imported is in memory once.

Workers leave signals to it: Ctrl-C and service managers signal whole groups, and a worker must not
take its supervisor's order for a second signal.
"""

from __future__ import annotations

import gc
import logging
import os
import select
import shutil
import signal
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp

from . import machine
from .settings import Settings
from .workers import Board, Worker

_log = logging.getLogger(__name__)
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)
_MOST_FAILURES = 3  # deaths in a row of one worker before it was ready
_RETRY_SECONDS = 0.5  # doubled after each
SLACK_SECONDS = 5.0  # for a worker to end by itself when its grace is over


def share_of(settings: Settings) -> Settings:
    """Compute the settings of one worker, whose limits together are the service's.

    A worker has an N-th of the cores, so that its queue is done in the time that the whole queue
    would take one process with all of them.
    """
    workers = settings.workers

    def share(whole: int) -> int:
        return max(1, whole // workers)

    def share_of_some(whole: int | None) -> int | None:
        return None if whole is None else share(whole)

    return settings.model_copy(
        update={
            "max_queued_requests": share(settings.max_queued_requests),
            "max_queued_pixels": share(settings.max_queued_pixels),
            "max_held_body_bytes": share(settings.max_held_body_bytes),
            "max_unread_bytes": share(settings.max_unread_bytes),
            "max_connections": share_of_some(settings.max_connections),
            "threads": share_of_some(settings.threads),
            "device_threads": share_of_some(settings.device_threads),
            "entropy_workers": settings.entropy_workers and settings.entropy_workers // workers,
            # One of two is left to small pictures while the other has a large one.
            "image_workers": max(min(2, settings.image_workers), share(settings.image_workers)),
        }
    )


@dataclass(slots=True)
class _Process:
    """The process that is one of the workers now.

    Attributes:
        pid: None while there is none.
        orders: the supervisor's end of its connection.
        ready: it takes connections.
        failures: deaths in a row before it was ready.
        due: when to fork it, on `time.monotonic`'s clock.
    """

    pid: int | None = None
    orders: socket.socket | None = None
    ready: bool = False
    failures: int = 0
    due: float = 0.0


class Supervisor:
    """Forks workers until it is told to stop.

    Args:
        settings: of the service.
        listener: bound; closed here when the service leaves.
        grace_seconds: that a worker may take to leave.
        on_ready: called once, when all workers take connections.
    """

    def __init__(
        self,
        settings: Settings,
        listener: socket.socket,
        grace_seconds: float,
        on_ready: Callable[[], None],
    ) -> None:
        self._listener = listener
        self._grace_seconds = grace_seconds
        self._on_ready = on_ready
        self._told_ready = False
        self._board = Board(settings.workers)
        self._processes = [_Process() for _ in range(settings.workers)]
        self._sockets = Path(mkdtemp(prefix=f"ziggurat-{os.getpid()}-"))
        # Bound here: a worker that replaces another answers at the same place.
        self._listeners = [_listen(self._sockets / str(worker)) for worker in range(settings.workers)]
        self._leave_by: float | None = None
        self._code = 0
        self._wake, wake = socket.socketpair()
        for end in (self._wake, wake):
            end.setblocking(False)
        self._waker = wake

    def run(self) -> Worker:
        """Return in each worker; the supervisor leaves by SystemExit when all of them have ended.

        Its code is 0 when they have finished what was accepted.
        """
        gc.collect()
        gc.freeze()  # what is there is not looked through again: pages that are shared stay so
        for number in _SIGNALS:
            signal.signal(number, lambda *_: None)
        signal.set_wakeup_fd(self._waker.fileno(), warn_on_full_buffer=False)
        while True:
            for index, process in enumerate(self._processes):
                if self._is_due(process) and (worker := self._fork(index)) is not None:
                    return worker
            if self._leave_by is not None and all(process.pid is None for process in self._processes):
                self._close()
                raise SystemExit(self._code)
            self._wait()
            self._bury()
            self._end_when_grace_is_over()

    def _is_due(self, process: _Process) -> bool:
        return process.pid is None and self._leave_by is None and process.due <= time.monotonic()

    def _wait(self) -> None:
        """Wait for a signal, a worker that is ready, or the next thing that is due."""
        now = time.monotonic()
        dues = [process.due - now for process in self._processes if process.pid is None]
        if self._leave_by is not None:
            dues = [self._leave_by - now]
        ends = {process.orders: process for process in self._processes if process.orders is not None}
        readable, _, _ = select.select([self._wake, *ends], [], [], max(0.0, min(dues, default=3600.0)))
        for end in readable:
            if end is self._wake:
                self._obey(self._wake.recv(4096))
            elif end.recv(1):
                ends[end].ready, ends[end].failures = True, 0
            else:  # it has closed its end: it is about to be buried
                end.close()
                ends[end].orders = None
        if not self._told_ready and all(process.ready for process in self._processes):
            self._told_ready = True
            self._on_ready()

    def _obey(self, signals: bytes) -> None:
        for number in signals:
            if number == signal.SIGCHLD:
                continue
            if self._leave_by is not None:
                self._kill()
                self._close()
                os._exit(128 + number)
            self._leave()

    def _leave(self) -> None:
        """Have all workers finish what they accepted, and replace none of them any more."""
        self._leave_by = time.monotonic() + self._grace_seconds + SLACK_SECONDS
        self._listener.close()  # the last worker that closes it ends the listening
        for process in self._processes:
            if process.orders is not None:
                with suppress(OSError):  # it has just died
                    process.orders.send(b"l")

    def _kill(self) -> None:
        for process in self._processes:
            if process.pid is not None:
                os.kill(process.pid, signal.SIGKILL)

    def _end_when_grace_is_over(self) -> None:
        if self._leave_by is not None and time.monotonic() >= self._leave_by:
            self._leave_by = time.monotonic() + SLACK_SECONDS
            self._code = 1
            self._kill()

    def _bury(self) -> None:
        """Take note of the workers that have ended, and say when each is forked anew."""
        for index, process in enumerate(self._processes):
            if process.pid is None:
                continue
            pid, status = os.waitpid(process.pid, os.WNOHANG)
            if not pid:
                continue
            code = os.waitstatus_to_exitcode(status)
            was_ready = process.ready
            process.pid, process.ready = None, False
            if process.orders is not None:
                process.orders.close()
                process.orders = None
            if self._leave_by is not None:
                self._code = self._code or int(code != 0)
                continue
            process.failures = 0 if was_ready else process.failures + 1
            facts = {"worker": index, "pid": pid, "code": code}
            if process.failures >= _MOST_FAILURES:
                _log.critical("a worker dies again and again at its start; the service ends", extra=facts)
                self._code = max(code, 1)
                self._leave()
                continue
            self._board.died(index)
            process.due = time.monotonic()
            if process.failures:
                process.due += _RETRY_SECONDS * 2 ** (process.failures - 1)
            _log.error("a worker died and is replaced", extra=facts)

    def _fork(self, index: int) -> Worker | None:
        """Fork a worker. Returns None in the supervisor."""
        process = self._processes[index]
        ours, theirs = socket.socketpair()
        # A signal between the fork and the worker's own handlers would be written to our pipe.
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        try:
            process.pid = os.fork() or None
            if process.pid is None:
                self._become_worker(index, ours)
                return Worker(index, self._board, self._sockets, self._listeners[index], theirs)
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        theirs.close()
        process.orders = ours
        return None

    def _become_worker(self, index: int, ours: socket.socket) -> None:
        """Let go of what is the supervisor's, and take a share of the cores."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        # Whoever holds the supervisor's end of a connection keeps its worker from seeing it end.
        orders = [other.orders for other in self._processes if other.orders is not None]
        others = self._listeners[:index] + self._listeners[index + 1 :]
        for held in (ours, self._wake, self._waker, *orders, *others):
            held.close()
        machine.take_share(index, self._board.workers)

    def _close(self) -> None:
        self._listener.close()
        shutil.rmtree(self._sockets, ignore_errors=True)


def _listen(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()
    return listener
