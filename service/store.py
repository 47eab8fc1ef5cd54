"""The stream store: content-addressed, written once, on a local disk or in a bucket.

A stream's id is the SHA-256 of its bytes, so that storing it twice is storing it once and what an id means never changes.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.store import LocalStore, ObjectStore, from_url

_ID = re.compile(r"[0-9a-f]{64}")


class StoreError(Exception):
    """Base of the store's errors. Its text is fit for users."""


class NotStoredError(StoreError):
    """No stream has this id."""

    def __init__(self, stream_id: str) -> None:
        super().__init__(f"no stream is stored under {stream_id[:64]}")


class StoreUnavailableError(StoreError):
    """The disk or the bucket failed; what it said is in `__cause__`, for the log and not for users."""

    def __init__(self) -> None:
        super().__init__("the stream store does not answer")


def id_of(stream: bytes) -> str:
    """SHA-256 of a stream, 64 hex digits."""
    return hashlib.sha256(stream).hexdigest()


class StreamStore:
    """Streams by id. Every method raises `StoreUnavailableError` when the place behind it fails."""

    def __init__(self, location: str) -> None:
        """`location` is a directory, made when missing, or a URL: `memory://`, `s3://bucket/prefix`, `gs://…`, `az://…`."""
        self._store: ObjectStore = from_url(location) if "://" in location else LocalStore(Path(location), mkdir=True)

    async def put(self, stream: bytes) -> str:
        """Keep a stream and return its id; the second of two writers of one stream changes nothing."""
        stream_id = id_of(stream)
        with _faults(stream_id), suppress(AlreadyExistsError):
            await self._store.put_async(_path(stream_id), stream, mode="create")
        return stream_id

    async def get(self, stream_id: str) -> bytes:
        """The stream's bytes. Raises `NotStoredError`."""
        with _faults(stream_id):
            found = await self._store.get_async(_path(stream_id))
            return bytes(await found.bytes_async())

    async def size(self, stream_id: str) -> int:
        """The stream's length in bytes, without reading it. Raises `NotStoredError`."""
        with _faults(stream_id):
            return (await self._store.head_async(_path(stream_id)))["size"]

    async def delete(self, stream_id: str) -> None:
        """Forget a stream. Raises `NotStoredError`."""
        await self.size(stream_id)  # buckets delete what is not there without a word
        with _faults(stream_id):
            await self._store.delete_async(_path(stream_id))


def _path(stream_id: str) -> str:
    if not _ID.fullmatch(stream_id):
        raise FileNotFoundError(stream_id)
    return f"{stream_id[:2]}/{stream_id}.zgt"


@contextmanager
def _faults(stream_id: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise NotStoredError(stream_id) from error
    except (BaseError, OSError) as error:
        raise StoreUnavailableError from error
