"""Where images come from and results go: folders and buckets, by name, size and version.

Only names are listed here; bytes are read where the work is done.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from pathlib import Path, PurePosixPath

from obstore.exceptions import BaseError
from obstore.store import LocalStore, ObjectStore, from_url

from . import BulkError

_RETRIES, _RETRY_SECONDS = 10, 60
_PAGE = 1000  # names that a bucket lists at once


@dataclass(frozen=True, slots=True)
class Source:
    """An image file, as it was when it was listed.

    Attributes:
        root: folder or address of a bucket below which it was found.
        path: below the root.
        size: bytes.
        etag: version, as the bucket tells it; of a file its time of change.
        max_bytes: its share of one budget, once there is one.
    """

    root: str
    path: str
    size: int
    etag: str
    max_bytes: int | None = None

    @property
    def name(self) -> str:
        """Its whole path or address."""
        return f"{self.root.rstrip('/')}/{self.path}"

    def key(self, settings: str) -> bytes:
        """What a result depends on: the file's name and version and the settings, in 16 bytes."""
        return digest(self.name, str(self.size), self.etag, str(self.max_bytes), settings)


def digest(*parts: str) -> bytes:
    """16 bytes that stand for texts."""
    text = "\0".join(parts).encode(errors="surrogateescape")
    return hashlib.blake2b(text, digest_size=16).digest()


def is_url(location: str) -> bool:
    """Tell an address of a bucket from a path."""
    return "://" in location


@cache
def store(location: str) -> ObjectStore:
    """Open a folder, made when missing, or a bucket; credentials come from the environment.

    Raises:
        BulkError: there can be none.
    """
    try:
        if not is_url(location):
            return LocalStore(Path(location), mkdir=True)
        retry_timeout = timedelta(seconds=_RETRY_SECONDS)
        return from_url(location, retry_config={"max_retries": _RETRIES, "retry_timeout": retry_timeout})
    except (BaseError, OSError, ValueError) as error:
        raise BulkError(f"{location}: {error}") from error


def absolute(location: str) -> str:
    """Spell a location so that it means the same on every machine that has it."""
    return location if is_url(location) else str(Path(location).absolute())


def find(locations: Iterable[str], suffixes: Collection[str]) -> Iterator[tuple[list[Source], int]]:
    """List images, all the way down, some at a time; what is hidden is left alone.

    Args:
        locations: folders, addresses of buckets with or without a prefix, and single files.
        suffixes: what a name must end in, such as ".jpg".

    Yields:
        Images, and how many files of other kinds, or of names that are no text, lay between them.

    Raises:
        BulkError: a location is not there, or cannot be listed.
    """
    for location in map(absolute, locations):
        listed = _in_bucket(location, suffixes) if is_url(location) else _in_folder(Path(location))
        for found in listed:
            images = [
                source for source in found if _is_text(source.path) and _suffix(source.path) in suffixes
            ]
            yield images, len(found) - len(images)


async def read(source: Source) -> bytes:
    """Read a file.

    Raises:
        FileNotFoundError: it is gone.
        OSError: it cannot be read, `BaseError` of a bucket's.
    """
    if not is_url(source.root):
        return await asyncio.to_thread(Path(source.root, source.path).read_bytes)
    found = await store(source.root).get_async(source.path)
    return bytes(await found.bytes_async())


def _suffix(path: str) -> str:
    return PurePosixPath(path).suffix.lower()


def _is_text(path: str) -> bool:
    """Tell a name that tables and addresses can hold: a file's may be any bytes."""
    return path.isascii() or not any("\ud800" <= character <= "\udfff" for character in path)


def _in_folder(location: Path) -> Iterator[list[Source]]:
    if location.is_file():
        yield [_file(location.parent, location.name)]
        return
    if not location.is_dir():
        raise BulkError(f"{location} does not exist")

    def refuse(error: OSError) -> None:
        raise BulkError(f"{error.filename}: {error.strerror}") from error

    for parent, folders, names in os.walk(location, onerror=refuse):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        paths = (Path(parent, name) for name in sorted(names) if not name.startswith("."))
        yield [_file(location, str(path.relative_to(location))) for path in paths if path.is_file()]


def _file(root: Path, path: str) -> Source:
    status = (root / path).stat()
    return Source(str(root), path, status.st_size, f"{status.st_mtime_ns:x}")


def _in_bucket(location: str, suffixes: Collection[str]) -> Iterator[list[Source]]:
    root, _, name = location.rpartition("/")
    try:
        if _suffix(name) in suffixes:
            status = store(root).head(name)
            yield [Source(root, name, status["size"], status["e_tag"] or "")]
            return
        for page in store(location).list(chunk_size=_PAGE):
            yield [
                Source(location.rstrip("/"), found["path"], found["size"], found["e_tag"] or "")
                for found in page
                if not any(part.startswith(".") for part in found["path"].split("/"))
            ]
    except (BaseError, OSError) as error:
        raise BulkError(f"{location} cannot be listed: {error}") from error
