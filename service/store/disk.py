"""Durability, age limit, quota and clearing up after a crash, for a store in a directory.

obstore reads and writes. It creates `<id>.zgt` by writing `<id>.zgt#<n>` beside it and linking that
to the name, which fails when the name is taken. So no reader ever sees half a stream, and a process
that is killed leaves at most a `#` file, which the sweep removes. obstore does not flush to the
disk; `settle` does. A stream's age counts from its last POST, kept as the file's modification time.

Everything here blocks, and belongs on a thread of its own. Several processes may share a directory.
"""

from __future__ import annotations

import math
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
from numpy.typing import NDArray

_SHARD = re.compile(r"[0-9a-f]{2}")
_STREAM = re.compile(r"[0-9a-f]{64}\.zgt(?P<leftover>#\d+)?")
_LEFTOVER_AGE_SECONDS = 3600  # no write takes so long: the process that began this one is gone
_SWEPT_QUOTA_FRACTION = 0.9  # how full a sweep leaves the quota; the rest is room until the next one


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits on the bytes and ages of the streams in a local store; None is without limit.

    Streams younger than `min_age_seconds` are not evicted for the quota: a client that was told
    "stored" has time to come back.
    """

    max_bytes: int | None = None
    max_age_seconds: float | None = None
    min_age_seconds: float = 60.0


@dataclass(frozen=True, slots=True)
class Usage:
    """The bytes and streams that a sweep left on the disk.

    `room_at`, in seconds since the epoch, is when the next sweep can make room for the quota.
    """

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
        """Flush a file and its directory entries, so that they survive a power failure."""
        path = self._root / name
        for place in (path, path.parent, self._root):
            descriptor = os.open(place, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def refresh(self, name: str) -> None:
        """Let a stream's age begin anew.

        Raises:
            FileNotFoundError: it is not there, or has just been evicted.
        """
        with self._lock():
            os.utime(self._root / name)

    def sweep(self) -> Usage:
        """Remove leftovers and streams over age, then the oldest over the quota; count the rest."""
        now = time.time()
        stored_at, sizes = self._remove_expired(now)
        total = sum(sizes)
        quota = self.limits.max_bytes
        if quota is None or total <= _SWEPT_QUOTA_FRACTION * quota:
            return Usage(total, len(sizes), now)
        return self._enforce_quota(
            np.asarray(stored_at), np.asarray(sizes), _SWEPT_QUOTA_FRACTION * quota, now
        )

    def _remove_expired(self, now: float) -> tuple[array[float], array[int]]:
        """Remove leftovers and streams over age.

        Returns:
            When each stream that is left was stored, in seconds since the epoch, and its bytes.
        """
        max_age = self.limits.max_age_seconds
        expiry = -math.inf if max_age is None else now - max_age
        stored_at = array("d")
        sizes = array("q")
        for path, stat, leftover in self._files():
            if leftover:
                if stat.st_mtime < now - _LEFTOVER_AGE_SECONDS:
                    Path(path).unlink(missing_ok=True)
            elif not (stat.st_mtime < expiry and self._evict(path, expiry)):
                stored_at.append(stat.st_mtime)
                sizes.append(stat.st_size)
        return stored_at, sizes

    def _enforce_quota(
        self, stored_at: NDArray[np.float64], sizes: NDArray[np.int64], goal: float, now: float
    ) -> Usage:
        """Evict the least recently stored streams, if old enough, until `goal` bytes are left."""
        left = len(sizes)
        total = int(sizes.sum())
        order = np.argsort(stored_at)  # numpy sorts a million numbers without the interpreter's lock
        freed = np.cumsum(sizes[order])
        last = order[min(int(np.searchsorted(freed, total - goal)), left - 1)]
        youngest = min(float(stored_at[last]), now - self.limits.min_age_seconds)
        for path, stat, leftover in self._files():
            if total <= goal:
                break
            if not leftover and stat.st_mtime <= youngest and self._evict(path, youngest):
                total -= stat.st_size
                left -= 1
        if total <= goal:
            return Usage(total, left, now)
        oldest = min((when for when in stored_at.tolist() if when > youngest), default=now)
        return Usage(total, left, oldest + self.limits.min_age_seconds)

    def stop(self) -> None:
        """Let a sweep that is under way end soon."""
        self._stopped.set()

    def _evict(self, path: str, youngest: float) -> bool:
        """Remove a stream unless it was stored again after `youngest`."""
        with self._lock(), suppress(FileNotFoundError):
            if os.stat(path).st_mtime > youngest:
                return False
            os.unlink(path)
        return True

    def _files(self) -> Iterator[tuple[str, os.stat_result, bool]]:
        """Yield path and status of the store's own files, and True for a killed process's leftover.

        Other files in the directory are left alone.
        """
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
        """Hold the directory's lock against all processes.

        Without it, a stream could be refreshed between the check of its age and its removal.
        """
        descriptor = os.open(self._root, os.O_RDONLY)
        try:
            flock(descriptor, LOCK_EX)
            yield
        finally:
            os.close(descriptor)
