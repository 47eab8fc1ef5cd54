"""The journal of bulk work, beside its streams: what is finished, and what was begun and killed.

    journal/rows/BLOCK/TIME.parquet        rows of the manifest
    journal/measured/BLOCK/TIME.parquet    measurements, for one budget
    journal/attempts/BLOCK.json            blocks that this run has begun

An actor adds its rows every few seconds; whoever is killed loses no more than those. Nothing is
ever changed but `attempts`, so no two writers are in each other's way. Of two rows of one key the
later counts.
"""

from __future__ import annotations

import asyncio
import io
import json
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from typing import Generic

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from obstore.exceptions import BaseError

from . import BulkError
from .places import store
from .rows import PASSING, AnyRow, Row, rows_of, table

_READERS = 16
Keys = NDArray[np.bytes_]
"""Keys of `places.Source.key`, (n,), 16 bytes each."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """An attempt at a block.

    Attributes:
        number: 1 for the first; those before were killed.
        since: begin of the first, in nanoseconds of the epoch.
        at: key of the file that is at work by itself, in hex; None while several are.
        deaths: how often an attempt was killed with this file at work by itself.
    """

    number: int = 1
    since: int = field(default_factory=time.time_ns)
    at: str | None = None
    deaths: dict[str, int] = field(default_factory=dict)

    def next(self) -> Attempt:
        """The attempt after this one, which was killed."""
        deaths = dict(self.deaths)
        if self.at is not None:
            deaths[self.at] = deaths.get(self.at, 0) + 1
        return Attempt(self.number + 1, self.since, None, deaths)


class Attempts:
    """The attempts at blocks, below an output. Raises `BulkError` when that fails."""

    def __init__(self, output: str) -> None:
        self._store = store(output)

    async def begin(self, block: str) -> Attempt:
        """Begin a block, once more if this run has: Ray did not see its end."""
        try:
            found = await self._store.get_async(_attempt(block))
            attempt = Attempt(**json.loads(bytes(await found.bytes_async()))).next()
        except FileNotFoundError:
            attempt = Attempt()
        except BaseError as error:
            raise BulkError(f"the journal cannot be read: {error}") from error
        await self._keep(block, attempt)
        return attempt

    async def at(self, block: str, attempt: Attempt, key: bytes) -> None:
        """Remember that a file is at work by itself."""
        await self._keep(block, replace(attempt, at=key.hex()))

    def forget(self) -> None:
        """Forget all blocks: their run has ended, or was killed with its actors."""
        try:
            names = [found["path"] for page in self._store.list("journal/attempts") for found in page]
            if names:
                self._store.delete(names)
        except BaseError as error:
            raise BulkError(f"the journal cannot be written: {error}") from error

    async def _keep(self, block: str, attempt: Attempt) -> None:
        try:
            await self._store.put_async(_attempt(block), json.dumps(asdict(attempt)).encode())
        except (BaseError, OSError) as error:
            raise BulkError(f"the journal cannot be written: {error}") from error


class Journal(Generic[AnyRow]):
    """Rows of one kind below an output. Raises `BulkError` when reading or writing fails."""

    def __init__(self, output: str, kind: type[AnyRow]) -> None:
        self._store = store(output)
        self._kind = kind
        self._folder = "journal/rows" if kind is Row else "journal/measured"

    async def add(self, block: str, rows: Sequence[AnyRow]) -> None:
        """Add rows of a block."""
        content = await asyncio.to_thread(_parquet, table(rows, self._kind))
        try:
            await self._store.put_async(f"{self._folder}/{block}/{time.time_ns():020d}.parquet", content)
        except (BaseError, OSError) as error:
            raise BulkError(f"the journal cannot be written: {error}") from error

    async def of_block(self, block: str, since: int) -> list[AnyRow]:
        """Read the rows of a block that are no older than `since`, in nanoseconds of the epoch."""

        def rows() -> list[AnyRow]:
            parts = [part for part in self.parts(block) if _time(part) >= since]
            return [row for part in parts for row in rows_of(self.read(part), self._kind)]

        return await asyncio.to_thread(rows)

    def parts(self, block: str = "") -> list[str]:
        """Names of the parts, of one block or of all; the latest first."""
        try:
            listed = self._store.list(f"{self._folder}/{block}".rstrip("/"))
            names = [found["path"] for page in listed for found in page]
        except BaseError as error:
            raise BulkError(f"the journal cannot be read: {error}") from error
        return sorted(names, key=_time, reverse=True)

    def read(self, part: str, columns: list[str] | None = None) -> pa.Table:
        """Read a part, or some columns of it."""
        try:
            content = self._store.get(part).bytes()
            return pq.read_table(pa.BufferReader(bytes(content)), columns=columns)
        except (BaseError, OSError, pa.ArrowException) as error:
            raise BulkError(f"{part} in the journal cannot be read: {error}") from error

    def read_all(self, columns: list[str] | None = None) -> Iterator[tuple[str, pa.Table]]:
        """Read all parts, a few at a time; the latest first."""
        parts = self.parts()
        with ThreadPoolExecutor(_READERS) as pool:
            for start in range(0, len(parts), _READERS):
                some = parts[start : start + _READERS]
                yield from zip(some, pool.map(lambda part: self.read(part, columns), some), strict=True)

    def settled(self) -> Keys:
        """Keys of what is not to be done again, in their order: all but problems that may pass."""
        keys = [keys_of([])]
        for _, part in self.read_all(["key", "problem"]):
            stays = ~np.isin(part["problem"].to_pylist(), list(PASSING)) if len(part) else np.zeros(0, bool)
            keys.append(keys_of(part["key"].to_pylist())[stays])
        return np.unique(np.concatenate(keys))

    def select(self, wanted: Keys) -> Iterator[tuple[str, pa.Table, NDArray[np.intp]]]:
        """Find the rows of wanted keys, each once.

        Args:
            wanted: in their order.

        Yields:
            Parts, their keys and status alone, and the places of their rows that are wanted.
        """
        found = np.zeros(len(wanted), dtype=bool)
        for name, part in self.read_all(["key", "status"]):
            keys, first = np.unique(keys_of(part["key"].to_pylist()), return_index=True)
            places = find(wanted, keys)
            new = (places >= 0) & ~found[places]
            found[places[new]] = True
            if new.any():
                yield name, part, np.sort(first[new])


def keys_of(keys: Sequence[bytes]) -> Keys:
    """Keys as an array."""
    return np.array(keys, dtype="S16")


def find(keys: Keys, wanted: Keys) -> NDArray[np.intp]:
    """Places of wanted keys, (n,), among keys in their order; -1 for those that are not there."""
    if not len(keys):
        return np.full(len(wanted), -1)
    places = np.searchsorted(keys, wanted).clip(max=len(keys) - 1)
    return np.where(keys[places] == wanted, places, -1)


def _parquet(rows: pa.Table) -> bytes:
    file = io.BytesIO()
    pq.write_table(rows, file, compression="zstd")
    return file.getvalue()


def _time(part: str) -> int:
    return int(part.rpartition("/")[2].removesuffix(".parquet"))


def _attempt(block: str) -> str:
    return f"journal/attempts/{block}.json"
