"""The directory of a local store: reading, writing, durability, age limit and quota.

`<id>.zgt` is created by writing `<id>.zgt#<n>` beside it and linking that to the name, which fails
when the name is taken. So no reader ever sees half a stream, and a process that is killed leaves at
most a `#` file, which the sweep removes. A stream's age counts from its last POST, kept as the
file's modification time.

No symbolic link inside the directory is followed: every file is reached through the descriptor of
the directory that it lies in, and both are opened with O_NOFOLLOW. So whoever can make a link there
cannot make the service read, touch or remove a file that lies elsewhere.

Everything here blocks, and belongs on a thread of its own. Several processes may share a directory.
"""

from __future__ import annotations

import logging
import math
import os
import re
import secrets
import shutil
import threading
import time
from array import array
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fcntl import LOCK_EX, flock
from pathlib import Path
from stat import S_ISREG

import numpy as np
from numpy.typing import NDArray

_log = logging.getLogger(__name__)
_SHARD = re.compile(r"[0-9a-f]{2}")
_STREAM = re.compile(r"[0-9a-f]{64}\.zgt(?P<leftover>#\d+)?")
_LEFTOVER_AGE_SECONDS = 3600  # no write takes so long: the process that began this one is gone
_SWEPT_QUOTA_FRACTION = 0.9  # how full a sweep leaves the quota; the rest is room until the next one
BLOCK = 4096  # bytes that a file system gives out at least
_DEFAULT_MAX_BYTES = 10 * 10**9
_DEFAULT_DISK_FRACTION = 10  # one part of so many
_CLOCK_SKEW_SECONDS = 60.0  # between the clocks of a file server and of this machine
_LONG_AGO_SECONDS = 1e10  # three centuries


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits on the bytes and ages of the streams in a local store.

    Attributes:
        max_bytes: the quota; 0 is without limit, None is 10 GB or a tenth of the disk, whichever is
            less.
        max_age_seconds: None is without limit.
        min_age_seconds: streams younger than this are not evicted for the quota: a client that was
            told "stored" has time to come back.
    """

    max_bytes: int | None = None
    max_age_seconds: float | None = None
    min_age_seconds: float = 60.0


def room_of(size: int) -> int:
    """Compute the bytes that a file takes on a disk: whole blocks, however short it is."""
    return -(-size // BLOCK) * BLOCK


@dataclass(frozen=True, slots=True)
class Usage:
    """The bytes and streams that a sweep left on the disk.

    Attributes:
        max_room: bytes that there is room for, should all that is old enough be evicted.
        room_in: seconds until it may be more.
    """

    bytes: int
    streams: int
    max_room: float = math.inf
    room_in: float = 0.0


class Disk:
    """The directory of a local store.

    Names are `<two hex digits>/<id>.zgt`.

    Attributes:
        max_bytes: the quota in bytes; None is without limit.
    """

    def __init__(self, root: Path, limits: Limits) -> None:
        self.max_bytes = _default_max_bytes(root) if limits.max_bytes is None else limits.max_bytes or None
        self._limits = limits
        self._root = root
        self._stopped = threading.Event()

    def size(self, name: str) -> int:
        """Return the size of a file in bytes; of a link, or whatever else is no plain file, 0.

        Raises:
            FileNotFoundError: it is not there.
        """
        with self._folder_of(name) as (folder, file):
            stat = os.stat(file, dir_fd=folder, follow_symlinks=False)
            return stat.st_size if S_ISREG(stat.st_mode) else 0

    def read(self, name: str, start: int = 0, end: int | None = None) -> bytes:
        """Return the content of a file; of a link, or whatever else is no plain file, nothing.

        Args:
            name: of the file.
            start: the first byte.
            end: behind the last byte; None for all.

        Raises:
            FileNotFoundError: it is not there.
        """
        with self._folder_of(name) as (folder, file):
            if not _is_plain(file, folder):
                return b""
            # Should a link or a pipe take its place just now, this fails or does not block.
            descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
            with os.fdopen(descriptor, "rb") as opened:
                opened.seek(start)
                return opened.read(-1 if end is None else end - start)

    def is_plain(self, name: str) -> bool:
        """Say whether a file is one, and not a link or whatever else.

        Raises:
            FileNotFoundError: it is not there.
        """
        with self._folder_of(name) as (folder, file):
            return _is_plain(file, folder)

    def create(self, name: str, stream: bytes) -> bool:
        """Write a stream unless its name is taken; say whether it was written."""
        with suppress(FileExistsError):
            (self._root / name).parent.mkdir(parents=True)
        with self._folder_of(name) as (folder, file), _draft(file, folder, stream) as draft:
            with suppress(FileExistsError):
                os.link(draft, file, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
                return True
            return False

    def replace(self, name: str, stream: bytes) -> None:
        """Write a stream in place of what has its name: a damaged file, or a link."""
        with self._folder_of(name) as (folder, file), _draft(file, folder, stream) as draft:
            os.replace(draft, file, src_dir_fd=folder, dst_dir_fd=folder)

    def remove(self, name: str) -> int:
        """Remove a file, or the link in its place, and return the room that it took, in bytes.

        Raises:
            FileNotFoundError: it is not there.
        """
        with self._folder_of(name) as (folder, file):
            size = os.stat(file, dir_fd=folder, follow_symlinks=False).st_size
            os.unlink(file, dir_fd=folder)
            return room_of(size)

    def settle(self, name: str) -> None:
        """Flush a file and its directory entries, so that they survive a power failure."""
        with self._folder_of(name) as (folder, file):
            descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            os.fsync(folder)
        with _directory(self._root) as root:
            os.fsync(root)

    def refresh(self, name: str) -> None:
        """Let a stream's age begin anew.

        Raises:
            FileNotFoundError: it is not there, or has just been evicted.
        """
        with self._lock(), self._folder_of(name) as (folder, file):
            os.utime(file, dir_fd=folder, follow_symlinks=False)

    def sweep(self, waiting: Sequence[int] = (), reserved: int = 0) -> Usage:
        """Remove leftovers and streams over age, then the oldest over the quota; count the rest.

        Args:
            waiting: the bytes of each stream that waits for room. As many as there can be room for
                get it, small ones first.
            reserved: bytes that are being written.
        """
        now = time.time()
        stored_at, sizes = self._remove_expired(now)
        if self.max_bytes is None:
            return Usage(sum(sizes), len(sizes))
        young = np.asarray(stored_at) > now - self._limits.min_age_seconds
        max_room = self.max_bytes - int(np.asarray(sizes)[young].sum())
        together = np.cumsum(np.sort(np.asarray(waiting, np.int64)))
        room = int(together[together <= max_room - reserved].max(initial=0))
        goal = min(int(_SWEPT_QUOTA_FRACTION * self.max_bytes), self.max_bytes - reserved - room)
        total, streams = self._evict_down_to(goal, np.asarray(stored_at), np.asarray(sizes), now)
        oldest = float(np.asarray(stored_at)[young].min(initial=math.inf))
        room_in = oldest + self._limits.min_age_seconds - now if young.any() else 0.0
        return Usage(total, streams, max_room, room_in)

    def _remove_expired(self, now: float) -> tuple[array[float], array[int]]:
        """Remove leftovers and streams over age.

        Returns:
            When each stream that is left was stored, as `_stored_at`, and its bytes.
        """
        max_age = self._limits.max_age_seconds
        expiry = -math.inf if max_age is None else now - max_age
        stored_at = array("d")
        sizes = array("q")
        for folder, file, stat, leftover in self._files():
            if leftover:
                if _stored_at(stat) < now - _LEFTOVER_AGE_SECONDS:
                    with suppress(FileNotFoundError):
                        os.unlink(file, dir_fd=folder)
            elif not (stat.st_mtime < expiry and self._evict(file, folder, expiry)):
                stored_at.append(_stored_at(stat))
                sizes.append(room_of(stat.st_size))
        return stored_at, sizes

    def _evict_down_to(
        self, goal: int, stored_at: NDArray[np.float64], sizes: NDArray[np.int64], now: float
    ) -> tuple[int, int]:
        """Evict the least recently stored streams, if old enough, until `goal` bytes are left.

        Returns:
            The bytes and the streams that are left.
        """
        left = len(sizes)
        total = int(sizes.sum())
        if total <= goal or not left:
            return total, left
        order = np.argsort(stored_at)  # numpy sorts a million numbers without the interpreter's lock
        freed = np.cumsum(sizes[order])
        last = order[min(int(np.searchsorted(freed, total - goal)), left - 1)]
        youngest = min(float(stored_at[last]), now - self._limits.min_age_seconds)
        for folder, file, stat, leftover in self._files():
            if total <= goal:
                break
            if not leftover and _stored_at(stat) <= youngest and self._evict(file, folder, youngest):
                total -= room_of(stat.st_size)
                left -= 1
        evicted = {"streams": len(sizes) - left, "bytes": int(sizes.sum()) - total}
        _log.info("streams were evicted for the quota", extra=evicted)
        return total, left

    def stop(self) -> None:
        """Let a sweep that is under way end soon."""
        self._stopped.set()

    def _evict(self, file: str, folder: int, youngest: float) -> bool:
        """Remove a stream unless it was stored again after `youngest`."""
        with self._lock(), suppress(FileNotFoundError):
            if _stored_at(os.stat(file, dir_fd=folder, follow_symlinks=False)) > youngest:
                return False
            os.unlink(file, dir_fd=folder)
        return True

    def _files(self) -> Iterator[tuple[int, str, os.stat_result, bool]]:
        """Yield the directory's descriptor, name and status of each of the store's own files.

        The last value is True for a killed process's leftover. Other files in the directory are
        left alone, and so are links.
        """
        with os.scandir(self._root) as shards:
            paths = [
                shard.path
                for shard in shards
                if _SHARD.fullmatch(shard.name) and shard.is_dir(follow_symlinks=False)
            ]
        for path in paths:
            with _directory(path, os.O_NOFOLLOW) as folder, os.scandir(folder) as entries:
                for entry in entries:
                    if self._stopped.is_set():
                        return
                    if match := _STREAM.fullmatch(entry.name):
                        with suppress(FileNotFoundError):
                            stat = entry.stat(follow_symlinks=False)
                            if S_ISREG(stat.st_mode):
                                yield folder, entry.name, stat, match["leftover"] is not None

    @contextmanager
    def _folder_of(self, name: str) -> Iterator[tuple[int, str]]:
        """Open the directory of a file; yield its descriptor and the file's name in it."""
        shard, _, file = name.partition("/")
        with _directory(self._root / shard, os.O_NOFOLLOW) as folder:
            yield folder, file

    @contextmanager
    def _lock(self) -> Iterator[None]:
        """Hold the directory's lock against all processes.

        Without it, a stream could be refreshed between the check of its age and its removal.
        """
        with _directory(self._root) as root:
            flock(root, LOCK_EX)
            yield


@contextmanager
def _directory(path: str | Path, flags: int = 0) -> Iterator[int]:
    """Open a directory; yield its descriptor."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | flags)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def _draft(file: str, folder: int, content: bytes) -> Iterator[str]:
    """Write `content` to a new file beside `file`; yield its name, and remove it at the end."""
    draft = f"{file}#{secrets.randbits(64)}"
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666, dir_fd=folder)
    try:
        with os.fdopen(descriptor, "wb") as opened:
            opened.write(content)
        yield draft
    finally:
        with suppress(FileNotFoundError):  # it was moved
            os.unlink(draft, dir_fd=folder)


def _is_plain(file: str, folder: int) -> bool:
    return S_ISREG(os.stat(file, dir_fd=folder, follow_symlinks=False).st_mode)


def _stored_at(stat: os.stat_result) -> float:
    """Return when a file was stored, in seconds since the epoch, fit to sort files by age.

    A time that is well ahead of the clock was written before the clock was set back. It is moved
    before all others, so that nothing waits for the clock to get there again.
    """
    if stat.st_mtime > time.time() + _CLOCK_SKEW_SECONDS:
        return stat.st_mtime - _LONG_AGO_SECONDS
    return stat.st_mtime


def _default_max_bytes(root: Path) -> int:
    """Return 10 GB or a tenth of the disk, whichever is less."""
    # Some file systems do not tell their size: 0.
    tenth = shutil.disk_usage(root).total // _DEFAULT_DISK_FRACTION
    return min(_DEFAULT_MAX_BYTES, tenth or _DEFAULT_MAX_BYTES)
