"""Streams by id. The id is the SHA-256 of the bytes: storing twice is storing once, what an id means never changes, and damage shows."""

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
from typing import Literal, Self, TypeVar, TypeVarTuple

from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.store import LocalStore, ObjectStore, from_url

from .disk import Disk, Limits
from .errors import NotStoredError, StoreDamagedError, StoreFullError, StoreUnavailableError
from .quota import Quota

Operation = Literal["put", "get", "head", "delete"]
T = TypeVar("T")
Ts = TypeVarTuple("Ts")

_log = logging.getLogger(__name__)
_ID = re.compile(r"[0-9a-f]{64}")
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NO_ROOM_TEXT = re.compile(rf"\(os error ({'|'.join(map(str, _NO_ROOM))})\)")  # obstore tells the number in words only
_NO_BUCKET = re.compile("NoSuchBucket|ContainerNotFound|bucket does not exist")  # to obstore, just as little there as a missing object


def id_of(stream: bytes) -> str:
    """SHA-256 of a stream, 64 hex digits."""
    return hashlib.sha256(stream).hexdigest()


class StreamStore:
    """Streams in a directory or a bucket.

    A stream whose id `put` has returned is there, whole, for every reader; in a directory it survives a power failure. Every method raises
    `StoreUnavailableError` when the place behind it fails or does not answer within `timeout_seconds`, retries included.
    """

    def __init__(
        self,
        location: str,
        *,
        limits: Limits | None = None,
        timeout_seconds: float = 10.0,
        on_failure: Callable[[Operation], None] = lambda operation: None,
    ) -> None:
        """`location` is a directory, made when missing, or a URL: `memory://`, `s3://bucket/prefix`, `gs://…`, `az://…`.

        Credentials, endpoints and HTTP options of buckets come from the environment, under the names that obstore documents. `limits` bind
        a directory only. `on_failure` hears of every operation that the place behind the store failed.
        """
        self._store: ObjectStore
        if "://" in location:
            # No client_options: they would replace what the environment says of them (AWS_ALLOW_HTTP, AWS_PROXY_URL, ...).
            self._store = from_url(location, retry_config={"max_retries": 10, "retry_timeout": timedelta(seconds=timeout_seconds)})
        else:
            self._store = LocalStore(Path(location), mkdir=True)
        root = self._store.prefix if isinstance(self._store, LocalStore) else None
        self._threads = ThreadPoolExecutor(4, thread_name_prefix="store")
        self._disk = None if root is None else Disk(root, limits or Limits())
        self.quota = None if self._disk is None else Quota(self._disk)
        self._timeout_seconds = timeout_seconds
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
        """Keep a stream and return its id; storing it again only lets its age begin anew. Raises `StoreFullError`."""
        stream_id = await self._on_thread(id_of, stream)
        async with self._faults("put", stream_id):
            await self._keep(_name(stream_id), stream)
        return stream_id

    async def get(self, stream_id: str) -> bytes:
        """The stream's bytes. Raises `NotStoredError`, `StoreDamagedError`."""
        async with self._faults("get", stream_id):
            stream = await self._read(_name(stream_id))
        if await self._on_thread(id_of, stream) != stream_id:
            self._on_failure("get")
            raise StoreDamagedError(stream_id)
        return stream

    async def get_range(self, stream_id: str, wanted: range) -> bytes:
        """A part of the stream's bytes, unchecked: only the whole can be held against its id. Raises `NotStoredError`."""
        async with self._faults("get", stream_id):
            return bytes(await self._store.get_range_async(_name(stream_id), start=wanted.start, end=wanted.stop))

    async def size(self, stream_id: str) -> int:
        """The stream's length in bytes, without reading it. Raises `NotStoredError`."""
        async with self._faults("head", stream_id):
            return (await self._store.head_async(_name(stream_id)))["size"]

    async def delete(self, stream_id: str) -> None:
        """Forget a stream. Raises `NotStoredError`."""
        size = await self.size(stream_id)  # buckets delete what is not there without a word
        async with self._faults("delete", stream_id):
            await self._store.delete_async(_name(stream_id))
        if self.quota is not None:
            self.quota.freed(size)

    async def _keep(self, name: str, stream: bytes) -> None:
        if self._disk is None or self.quota is None:
            while not (await self._create(name, stream) or await self._held(name, stream)):
                pass  # deleted between the two
            return
        while not await self._held(name, stream):  # goes first: what is there already needs no room
            async with self.quota.room(len(stream)) as reservation:
                reservation.used = await self._create(name, stream)
            if reservation.used:
                break
        with suppress(FileNotFoundError):  # deleted just now
            await self._on_thread(self._disk.settle, name)

    async def _create(self, name: str, stream: bytes) -> bool:
        """Write a stream unless the name is taken."""
        with suppress(AlreadyExistsError):
            await self._store.put_async(name, stream, mode="create")
            return True
        return False

    async def _held(self, name: str, stream: bytes) -> bool:
        """Whether the stream is there already. Its age begins anew; what is damaged is replaced."""
        try:
            if self._disk is not None:
                await self._on_thread(self._disk.refresh, name)
            if await self._read(name) == stream:
                return True
        except FileNotFoundError:
            return False
        _log.warning("%s was damaged and is replaced", name)
        await self._store.put_async(name, stream, mode="overwrite", use_multipart=False)
        return True

    async def _read(self, name: str) -> bytes:
        found = await self._store.get_async(name)
        return bytes(await found.bytes_async())

    async def _on_thread(self, function: Callable[[*Ts], T], *arguments: *Ts) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, function, *arguments)

    @asynccontextmanager
    async def _faults(self, operation: Operation, stream_id: str) -> AsyncIterator[None]:
        """Bound the time of the body, and turn what the place behind the store says into the store's errors."""
        try:
            async with asyncio.timeout(self._timeout_seconds):
                yield
        except FileNotFoundError as error:
            if operation != "put" and not _NO_BUCKET.search(str(error)):
                raise NotStoredError(stream_id) from error
            self._on_failure(operation)
            raise StoreUnavailableError from error
        except (BaseError, OSError) as error:  # of which TimeoutError is one
            self._on_failure(operation)
            full = _NO_ROOM_TEXT.search(str(error)) if isinstance(error, BaseError) else error.errno in _NO_ROOM
            raise (StoreFullError if full else StoreUnavailableError)() from error


def _name(stream_id: str) -> str:
    """Where a stream lies. Raises FileNotFoundError for what cannot be an id."""
    if not _ID.fullmatch(stream_id):
        raise FileNotFoundError(stream_id)
    return f"{stream_id[:2]}/{stream_id}.zgt"
