"""What a local store needs beyond reading and writing: durability, an age limit, a quota, and clearing up after a crash.

obstore creates `<id>.zgt` by writing `<id>.zgt#<n>` beside it and linking that to the name, which fails when the name is taken. So no
reader ever sees half a stream, and a process that is killed leaves at most a `#` file, which the sweep removes. obstore does not flush to
the disk; `settle` does. A stream's age counts from its last POST, kept as the file's modification time.

Everything here blocks, and belongs on a thread of its own. Several processes may share a directory.
"""

from __future__ import annotations

import os
import re
import threading
import time
from array import array
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fcntl import LOCK_EX, flock
from pathlib import Path

import numpy as np

_SHARD = re.compile(r"[0-9a-f]{2}")
_STREAM = re.compile(r"[0-9a-f]{64}\.zgt(?P<leftover>#\d+)?")
_LEFTOVER_SECONDS = 3600  # no write takes so long: whoever began this one is gone
_SWEPT_SHARE = 0.9  # of the quota; the rest is room until the next sweep


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a local store keeps, and for how long; None is without limit."""

    max_bytes: int | None = None
    max_age_seconds: float | None = None
    min_age_seconds: float = 60.0  # younger streams are not evicted for the quota: whoever was told "stored" has time to come back


@dataclass(frozen=True, slots=True)
class Usage:
    """What a sweep left on the disk, and when the next one can make room for the quota, in seconds since the epoch."""

    bytes: int
    streams: int
    room_at: float


class Disk:
    """The directory of a local store."""

    def __init__(self, root: Path, limits: Limits) -> None:
        self.limits = limits
        self._root = root
        self._stopped = threading.Event()

    def settle(self, name: str) -> None:
        """Return when the file and its directory entries would survive a power failure."""
        path = self._root / name
        for place in (path, path.parent, self._root):
            descriptor = os.open(place, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def refresh(self, name: str) -> None:
        """Let a stream's age begin anew. Raises FileNotFoundError when it has just been evicted."""
        with self._lock():
            os.utime(self._root / name)

    def sweep(self) -> Usage:
        """Remove what a killed process left, what is over age and, least recently stored first, what is over the quota; count the rest."""
        now, limits = time.time(), self.limits
        expiry = -np.inf if limits.max_age_seconds is None else now - limits.max_age_seconds
        stored, sizes = array("d"), array("q")
        for path, stat, leftover in self._files():
            if leftover:
                if stat.st_mtime < now - _LEFTOVER_SECONDS:
                    Path(path).unlink(missing_ok=True)
            elif not (stat.st_mtime < expiry and self._evict(path, expiry)):
                stored.append(stat.st_mtime)
                sizes.append(stat.st_size)

        left, total = len(sizes), sum(sizes)
        goal = np.inf if limits.max_bytes is None else _SWEPT_SHARE * limits.max_bytes
        if total > goal:
            order = np.argsort(stored)  # numpy sorts a million numbers without the interpreter's lock
            freed = np.cumsum(np.asarray(sizes)[order])
            last = np.asarray(stored)[order[min(int(np.searchsorted(freed, total - goal)), left - 1)]]
            youngest = min(float(last), now - limits.min_age_seconds)
            for path, stat, leftover in self._files():
                if total <= goal:
                    break
                if not leftover and stat.st_mtime <= youngest and self._evict(path, youngest):
                    total -= stat.st_size
                    left -= 1
            if total > goal:
                oldest = min((when for when in stored if when > youngest), default=now)
                return Usage(total, left, oldest + limits.min_age_seconds)
        return Usage(total, left, now)

    def stop(self) -> None:
        """End a sweep that is under way, soon."""
        self._stopped.set()

    def _evict(self, path: str, youngest: float) -> bool:
        """Remove a stream unless it was stored again after `youngest`."""
        with self._lock(), suppress(FileNotFoundError):
            if os.stat(path).st_mtime > youngest:
                return False
            os.unlink(path)
        return True

    def _files(self) -> Iterator[tuple[str, os.stat_result, bool]]:
        """Our own files, and whether each is a leftover; what else lies in the directory is none of our business."""
        with os.scandir(self._root) as shards:
            names = [shard.path for shard in shards if _SHARD.fullmatch(shard.name) and shard.is_dir()]
        for name in names:
            with os.scandir(name) as entries:
                for entry in entries:
                    if self._stopped.is_set():
                        return
                    if match := _STREAM.fullmatch(entry.name):
                        with suppress(FileNotFoundError):
                            yield entry.path, entry.stat(), match["leftover"] is not None

    @contextmanager
    def _lock(self) -> Iterator[None]:
        """Between "this is old" and its removal nobody may refresh it, in no process."""
        descriptor = os.open(self._root, os.O_RDONLY)
        try:
            flock(descriptor, LOCK_EX)
            yield
        finally:
            os.close(descriptor)
