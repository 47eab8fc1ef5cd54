"""Streams by id, the SHA-256 of their bytes.

So storing a stream twice stores it once, an id never changes its meaning, and damage shows.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import logging
import re
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Literal, NamedTuple, Self, TypeVar, TypeVarTuple

from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.store import LocalStore, ObjectStore, from_url

from ..ids import id_of
from .disk import Disk, Limits
from .errors import NotStoredError, StoreDamagedError, StoreFullError, StoreUnavailableError
from .quota import Quota

Operation = Literal["put", "get", "head", "delete"]
T = TypeVar("T")
Ts = TypeVarTuple("Ts")

_log = logging.getLogger(__name__)
_ID = re.compile(r"[0-9a-f]{64}")
_THREADS = 16  # for hashing and for a directory; most of the time they wait for the disk
_PIECE = 256 * 1024  # bytes of a large stream that are read at once
_READS = 8  # of large streams at the same time: obstore takes a thread and buffers for each
_HELD = 8  # whole streams in memory at the same time, of requests that nobody has admitted yet
_MAX_RETRIES = 10  # of one operation on a bucket, within its time
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# obstore gives the number in its text alone.
_NO_ROOM_TEXT = re.compile(rf"\(os error ({'|'.join(map(str, _NO_ROOM))})\)")
# obstore raises the same error for a missing bucket as for a missing object.
_NO_BUCKET = re.compile("NoSuchBucket|ContainerNotFound|bucket does not exist")


class Found(NamedTuple):
    """A stream that was checked, or a part of it.

    Attributes:
        size: of the whole stream, in bytes.
        part: the bytes of it that were asked for; None for all.
        digest: SHA-256 of those.
        pieces: of those, read when they are taken.
    """

    size: int
    part: range | None
    digest: bytes
    pieces: AsyncIterator[bytes]


class StreamStore:
    """Streams in a directory or a bucket.

    A stream whose id `put` has returned is there, whole, for every reader; in a directory it
    survives a power failure. Every method raises `StoreUnavailableError` when the disk or the
    bucket fails or does not answer in time.

    Args:
        location: a directory, made when missing, or a URL: `memory://`, `s3://bucket/prefix`,
            `gs://…`, `az://…`. Credentials, endpoints and HTTP options of buckets come from the
            environment, under the names that obstore documents.
        limits: of a directory; a bucket has rules of its own.
        timeout_seconds: the time for one operation, retries included.
        on_failure: called with every operation that the disk or the bucket failed.

    Attributes:
        quota: the fill level of a directory; None for a bucket.
    """

    def __init__(
        self,
        location: str,
        *,
        limits: Limits | None = None,
        timeout_seconds: float = 10.0,
        on_failure: Callable[[Operation], None] = lambda operation: None,
    ) -> None:
        self._store: ObjectStore
        if "://" in location:
            # No client_options: they would replace the environment's (AWS_ALLOW_HTTP, ...).
            retry_timeout = timedelta(seconds=timeout_seconds)
            self._store = from_url(
                location, retry_config={"max_retries": _MAX_RETRIES, "retry_timeout": retry_timeout}
            )
        else:
            self._store = LocalStore(Path(location), mkdir=True)
        root = self._store.prefix if isinstance(self._store, LocalStore) else None
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="store")
        self._disk = None if root is None else Disk(root, limits or Limits())
        self.quota = None if self._disk is None else Quota(self._disk)
        self._timeout_seconds = timeout_seconds
        self._reads = asyncio.Semaphore(_READS)
        self._held = asyncio.Semaphore(_HELD)
        self._on_failure = on_failure

    async def __aenter__(self) -> Self:
        """Begin to keep a directory within its limits."""
        if self.quota is not None:
            self.quota.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        if self.quota is not None:
            await self.quota.stop()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def put(self, stream: bytes) -> str:
        """Store a stream and return its id; storing it again only lets its age begin anew.

        Raises:
            StoreFullError: there is no room for it.
        """
        stream_id = await self._on_thread(id_of, stream)
        async with self._faults("put", stream_id):
            await self._keep(_name(stream_id), stream)
        return stream_id

    async def get(self, stream_id: str) -> bytes:
        """Return a stream's bytes.

        Raises:
            NotStoredError: no stream has this id.
            StoreDamagedError: the bytes do not hash to it.
        """
        async with self._faults("get", stream_id):
            stream = await self._read(_name(stream_id))
        if await self._on_thread(id_of, stream) != stream_id:
            self._on_failure("get")
            raise StoreDamagedError(stream_id)
        return stream

    @asynccontextmanager
    async def held(self, stream_id: str) -> AsyncIterator[bytes]:
        """Give a stream's bytes to the `with` body; a few streams at a time, whoever asks.

        For what is done before a request is admitted: hundreds of requests for one long stream
        would take as many times its memory. Raises what `get` raises.
        """
        async with self._held:
            yield await self.get(stream_id)

    async def read(self, stream_id: str, part_of: Callable[[int], range | None] = lambda size: None) -> Found:
        """Check a stream, and find it or a part of it, to be taken in pieces.

        All of it is read and hashed first, as only the whole has a known hash. A long one is then
        read a second time rather than held: who takes the pieces may be slow.

        Args:
            stream_id: the stream.
            part_of: chooses the part, given the stream's size; None for all of it.

        Raises:
            NotStoredError: no stream has this id.
            StoreDamagedError: the bytes do not hash to it.
            Exception: what `part_of` raises.
        """
        return await self._scan("get", stream_id, part_of)

    async def _scan(
        self, operation: Operation, stream_id: str, part_of: Callable[[int], range | None]
    ) -> Found:
        whole, chosen = hashlib.sha256(), hashlib.sha256()
        position = 0
        held = b""
        async with self._reads, self._faults(operation, stream_id):
            name = _name(stream_id)
            size = await self._size(name)
            part = part_of(size)
            while position < size:
                held = await self._piece(name, position, min(position + _PIECE, size))
                if not held:
                    break
                await self._on_thread(whole.update, held)
                if part is not None:
                    chosen.update(held[max(0, part.start - position) : max(0, part.stop - position)])
                position += len(held)
        if whole.hexdigest() != stream_id:
            self._on_failure(operation)
            raise StoreDamagedError(stream_id)
        wanted = range(size) if part is None else part
        if size == len(held):
            pieces = _once(held[wanted.start : wanted.stop])
        else:
            pieces = self._pieces(stream_id, wanted)
        return Found(size, part, (whole if part is None else chosen).digest(), pieces)

    async def _pieces(self, stream_id: str, part: range) -> AsyncIterator[bytes]:
        for start in range(part.start, part.stop, _PIECE):
            async with self._reads, self._faults("get", stream_id):
                piece = await self._piece(_name(stream_id), start, min(start + _PIECE, part.stop))
            yield piece

    async def _size(self, name: str) -> int:
        if self._disk is not None:
            return await self._on_thread(self._disk.size, name)
        return int((await self._store.head_async(name))["size"])

    async def _piece(self, name: str, start: int, end: int) -> bytes:
        if self._disk is not None:
            return await self._on_thread(self._disk.read, name, start, end)
        return bytes(await self._store.get_range_async(name, start=start, end=end))

    async def size(self, stream_id: str) -> int:
        """Return a stream's length in bytes. It is read and checked: damage has another length.

        Raises:
            NotStoredError: no stream has this id.
            StoreDamagedError: the bytes do not hash to it.
        """
        return (await self._scan("head", stream_id, lambda size: None)).size

    async def find(self, stream_id: str) -> None:
        """Check that a stream is there, without reading it.

        Raises:
            NotStoredError: no stream has this id.
            StoreDamagedError: a link, or whatever else is no file, is in its place.
        """
        async with self._faults("head", stream_id):
            if self._disk is None:
                await self._store.head_async(_name(stream_id))
            elif not await self._on_thread(self._disk.is_plain, _name(stream_id)):
                self._on_failure("head")
                raise StoreDamagedError(stream_id)

    async def delete(self, stream_id: str) -> None:
        """Delete a stream.

        Raises:
            NotStoredError: no stream has this id.
        """
        if self._disk is None or self.quota is None:
            await self.find(stream_id)  # raises; buckets delete a missing object without an error
            async with self._faults("delete", stream_id):
                await self._store.delete_async(_name(stream_id))
        else:
            async with self._faults("delete", stream_id):
                self.quota.freed(await self._on_thread(self._disk.remove, _name(stream_id)))

    async def _keep(self, name: str, stream: bytes) -> None:
        if self._disk is None or self.quota is None:
            while not (await self._create(name, stream) or await self._is_held(name, stream)):
                pass  # deleted between the two
            return
        while not await self._is_held(name, stream):  # first, as a stream that is there needs no room
            async with self.quota.room(len(stream)) as reservation:
                reservation.used = await self._create(name, stream)
            if reservation.used:
                break
        with suppress(FileNotFoundError):  # deleted just now
            await self._on_thread(self._disk.settle, name)

    async def _create(self, name: str, stream: bytes) -> bool:
        """Write a stream unless its name is taken; say whether it was written."""
        if self._disk is not None:
            return await self._on_thread(self._disk.create, name, stream)
        with suppress(AlreadyExistsError):
            await self._store.put_async(name, stream, mode="create")
            return True
        return False

    async def _is_held(self, name: str, stream: bytes) -> bool:
        """Say whether a stream is there already. Its age begins anew, and damage is repaired."""
        try:
            if self._disk is not None:
                await self._on_thread(self._disk.refresh, name)
            if await self._read(name) == stream:
                return True
        except FileNotFoundError:
            return False
        _log.warning("%s was damaged and is replaced", name)
        if self._disk is not None:
            await self._on_thread(self._disk.replace, name, stream)
        else:
            await self._store.put_async(name, stream, mode="overwrite", use_multipart=False)
        return True

    async def _read(self, name: str) -> bytes:
        if self._disk is not None:
            return await self._on_thread(self._disk.read, name)
        found = await self._store.get_async(name)
        return bytes(await found.bytes_async())

    async def _on_thread(self, function: Callable[[*Ts], T], *arguments: *Ts) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, function, *arguments)

    @asynccontextmanager
    async def _faults(self, operation: Operation, stream_id: str) -> AsyncIterator[None]:
        """Limit the time of the `with` body, and turn errors from below into the store's."""
        try:
            async with asyncio.timeout(self._timeout_seconds):
                yield
        except FileNotFoundError as error:
            if operation != "put" and not _NO_BUCKET.search(str(error)):
                raise NotStoredError(stream_id) from error
            self._on_failure(operation)
            raise StoreUnavailableError from error
        except (BaseError, OSError) as error:  # TimeoutError is an OSError
            self._on_failure(operation)
            full = (
                _NO_ROOM_TEXT.search(str(error)) if isinstance(error, BaseError) else error.errno in _NO_ROOM
            )
            raise (StoreFullError if full else StoreUnavailableError)() from error


def _name(stream_id: str) -> str:
    """Return the name of a stream in its directory or bucket.

    Raises:
        FileNotFoundError: this cannot be an id.
    """
    if not _ID.fullmatch(stream_id):
        raise FileNotFoundError(stream_id)
    return f"{stream_id[:2]}/{stream_id}.zgt"


async def _once(piece: bytes) -> AsyncIterator[bytes]:
    yield piece
