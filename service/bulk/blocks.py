"""Blocks of files: several at a time, into the journal as they finish, past files that kill.

A block that was killed is begun again, by Ray, on this actor or another. What the journal has of it
is not done again. From the second attempt on each of its files is at work alone in its process, and
is named before: the one that was named when the process died twice is given up.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Generic

from .journal import Attempts, Journal
from .places import Source
from .rows import AnyRow
from .worker import Pictures

FLUSH_SECONDS = 5.0  # of work that a crash costs, at most
_MOST_DEATHS = 2  # of a file


class Blocks(Generic[AnyRow]):
    """Does blocks of files.

    Args:
        pictures: does each.
        journal: where rows go.
        attempts: where attempts are remembered.
        settings: what keys depend on, besides the file.
        at_once: files at work at the same time.
    """

    def __init__(
        self,
        pictures: Pictures[AnyRow],
        journal: Journal[AnyRow],
        attempts: Attempts,
        *,
        settings: str,
        at_once: int,
    ) -> None:
        self._pictures = pictures
        self._journal = journal
        self._attempts = attempts
        self._settings = settings
        self._at_once = at_once
        self._room = asyncio.Semaphore(at_once)
        self._turn = asyncio.Lock()

    async def run(self, sources: Sequence[Source]) -> list[AnyRow]:
        """Do a block, or what is left of it.

        Returns:
            The rows of all its files.

        Raises:
            BulkError: the output fails.
        """
        keys = {source.key(self._settings): source for source in sources}
        block = hashlib.blake2b(b"".join(keys), digest_size=16).hexdigest()
        attempt = await self._attempts.begin(block)
        before = await self._journal.of_block(block, attempt.since) if attempt.number > 1 else []
        rows = {row.key: row for row in before if row.key in keys}
        left = {key: source for key, source in keys.items() if key not in rows}
        unwritten = _Unwritten(self._journal, block)
        if attempt.number == 1:
            try:
                async with asyncio.TaskGroup() as group:
                    tasks = [group.create_task(self._row(source, unwritten)) for source in left.values()]
            except ExceptionGroup as failures:
                raise failures.exceptions[0] from None  # the others are cancelled, or of the same kind
            rows |= {task.result().key: task.result() for task in tasks}
        else:
            for key, source in left.items():
                if attempt.deaths.get(key.hex(), 0) >= _MOST_DEATHS:
                    rows[key] = self._pictures.crashed(source)
                    await self._journal.add(block, [rows[key]])
                    continue
                async with self._alone():
                    await self._attempts.at(block, attempt, key)
                    rows[key] = await self._pictures.row(source)
                    await self._journal.add(block, [rows[key]])
        await unwritten.flush()
        return list(rows.values())

    @asynccontextmanager
    async def _alone(self) -> AsyncIterator[None]:
        """Keep all other files, of other blocks too, out of the body of the `async with`."""
        async with self._turn:
            for _ in range(self._at_once):
                await self._room.acquire()
        try:
            yield
        finally:
            for _ in range(self._at_once):
                self._room.release()

    async def _row(self, source: Source, unwritten: _Unwritten[AnyRow]) -> AnyRow:
        async with self._room:
            row = await self._pictures.row(source)
        await unwritten.add(row)
        return row


class _Unwritten(Generic[AnyRow]):
    """Rows that the journal does not have yet."""

    def __init__(self, journal: Journal[AnyRow], block: str) -> None:
        self._journal = journal
        self._block = block
        self._rows: list[AnyRow] = []
        self._since = time.monotonic()

    async def add(self, row: AnyRow) -> None:
        self._rows.append(row)
        if time.monotonic() - self._since >= FLUSH_SECONDS:
            await self.flush()

    async def flush(self) -> None:
        rows, self._rows = self._rows, []
        self._since = time.monotonic()
        if rows:
            await self._journal.add(self._block, rows)
