"""Meter: processor time, memory and temporary files of a process and all that it started."""

from __future__ import annotations

import os
import threading
import time
from bisect import bisect_left
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType

import psutil

PERIOD_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Reading:
    """One look at a tree of processes.

    Attributes:
        at: time, of `time.monotonic`.
        processor: seconds of processor time that all of them have had, those that ended too.
        memory: bytes: of each its own and its share of what it shares (PSS), or else what is
            resident.
        files: bytes of temporary files, those without a name too.
    """

    at: float
    processor: float
    memory: int
    files: int


def read(root: psutil.Process, temporary: Path) -> Reading:
    """Look at a process and its descendants, and at a folder of temporary files."""
    device = temporary.stat().st_dev
    processor = 0.0
    memory = 0
    files = sum(path.stat().st_size for path in temporary.iterdir() if path.is_file())
    for process in _tree(root):
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied, OSError):
            times = process.cpu_times()
            processor += times.user + times.system + times.children_user + times.children_system
            memory += _memory(process)
            files += _nameless_files(process.pid, device)
    return Reading(time.monotonic(), processor, memory, files)


def _tree(root: psutil.Process) -> list[psutil.Process]:
    with suppress(psutil.NoSuchProcess):
        return [root, *root.children(recursive=True)]
    return []


def _memory(process: psutil.Process) -> int:
    with suppress(AttributeError, psutil.AccessDenied):
        return int(process.memory_full_info().pss)
    return int(process.memory_info().rss)


def _nameless_files(pid: int, device: int) -> int:
    """Bytes of open files that have no name any more, as `tempfile.TemporaryFile` has none."""
    total = 0
    for entry in os.scandir(f"/proc/{pid}/fd"):
        with suppress(OSError):
            if "(deleted)" in os.readlink(entry.path):
                found = os.stat(entry.path)
                total += found.st_size if found.st_dev == device else 0
    return total


class Meter:
    """Reads ten times a second, on a thread of its own, while the `with` lasts.

    Args:
        pid: of the process at the root.
        temporary: its folder of temporary files.
        most_memory: bytes beyond which `on_excess` is called, once.
        on_excess: called on the meter's thread.

    Attributes:
        readings: all of them, in order.
    """

    def __init__(
        self, pid: int, temporary: Path, most_memory: float, on_excess: Callable[[], object]
    ) -> None:
        self._root = psutil.Process(pid)
        self._temporary = temporary
        self._most_memory = most_memory
        self._on_excess = on_excess
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="meter")
        self.readings = [read(self._root, temporary)]

    def _run(self) -> None:
        exceeded = False
        while not self._stopped.wait(PERIOD_SECONDS):
            reading = read(self._root, self._temporary)
            # What a process had is not to be read between its end and its parent's taking note.
            had = max(reading.processor, self.readings[-1].processor)
            self.readings.append(replace(reading, processor=had))
            if reading.memory > self._most_memory and not exceeded:
                exceeded = True
                self._on_excess()

    def __enter__(self) -> Meter:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stopped.set()
        self._thread.join()

    def at(self, moment: float) -> Reading:
        """Find the first reading from a moment on, or else the last."""
        place = bisect_left(self.readings, moment, key=lambda reading: reading.at)
        return self.readings[min(place, len(self.readings) - 1)]

    def since(self, moment: float) -> list[Reading]:
        """List the readings from a moment on; at least the last."""
        return [reading for reading in self.readings if reading.at >= moment] or self.readings[-1:]
