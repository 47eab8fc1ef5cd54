"""service.bulk.blocks"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from service.bulk import BulkError, blocks
from service.bulk.blocks import Blocks
from service.bulk.journal import Attempt, Attempts, Journal
from service.bulk.places import Source
from service.bulk.rows import Row
from tests.service.bulk.test_rows import ROW

SOURCES = [Source("/in", f"{number}.png", number, "") for number in range(6)]


SLOW = replace(SOURCES[3], path="slow 3.png")  # so that rows before it are written when it kills


class Killed(BaseException):
    """The process ends here."""


class Pictures:
    """Counts what it does; dies of some files."""

    def __init__(self, *deadly: str) -> None:
        self.deadly = deadly
        self.done: list[str] = []
        self.dead = False
        self.at_work = self.most_at_work = 0

    async def row(self, source: Source) -> Row:
        self.at_work += 1
        self.most_at_work = max(self.most_at_work, self.at_work)
        await asyncio.sleep(0.3 if source.path.startswith("slow") else 0.01)
        self.at_work -= 1
        if self.dead or source.path in self.deadly:
            self.dead = True
            raise Killed
        self.done.append(source.path)
        return replace(ROW, source=source.name, key=source.key("s"))

    def crashed(self, source: Source) -> Row:
        return replace(ROW, source=source.name, status="failed", problem="crashed", key=source.key("s"))


def blocks_of(pictures: Any, output: Path, at_once: int = 2) -> Blocks[Row]:
    """A new process's. Once it is dead it writes nothing any more."""
    pictures.dead = False

    class MortalAttempts(Attempts):
        async def _keep(self, block: str, attempt: Attempt) -> None:
            if pictures.dead:
                raise Killed
            await super()._keep(block, attempt)

    class MortalJournal(Journal[Row]):
        async def add(self, block: str, rows: Sequence[Row]) -> None:
            if pictures.dead:
                raise Killed
            await super().add(block, rows)

    journal, attempts = MortalJournal(str(output), Row), MortalAttempts(str(output))
    return Blocks(pictures, journal, attempts, settings="s", at_once=at_once)


def test_a_block_is_done_some_at_a_time_and_once(tmp_path: Path) -> None:
    pictures = Pictures()
    rows = asyncio.run(blocks_of(pictures, tmp_path).run(SOURCES))
    assert sorted(row.source for row in rows) == [source.name for source in SOURCES]
    assert pictures.most_at_work == 2
    assert len(Journal(str(tmp_path), Row).settled()) == 6
    # The process was killed before Ray had the rows.
    again = asyncio.run(blocks_of(pictures, tmp_path).run(SOURCES))
    assert {row.key: row for row in again} == {row.key: row for row in rows}
    assert len(pictures.done) == 6


def test_a_file_that_kills_the_process_is_given_up_and_no_other_is_done_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocks, "FLUSH_SECONDS", 0.0)
    pictures = Pictures(SLOW.path)
    sources = [*SOURCES[:3], SLOW, *SOURCES[4:]]
    deaths = 0
    while True:
        try:
            rows = asyncio.run(blocks_of(pictures, tmp_path, at_once=1).run(sources))
            break
        except (Killed, BaseExceptionGroup):
            deaths += 1
            assert deaths <= 3
    assert deaths == 3  # once in company, twice alone
    assert sorted(pictures.done) == ["0.png", "1.png", "2.png", "4.png", "5.png"]
    assert {row.source: row.problem for row in rows} == {
        source.name: "crashed" if source == SLOW else None for source in sources
    }
    assert len(rows) == 6


def test_no_file_of_another_block_is_blamed(tmp_path: Path) -> None:
    """Two blocks are in a process at a time."""
    pictures = Pictures("1.png")
    others = [replace(source, path=f"slow {source.path}") for source in SOURCES[:2]]

    async def both() -> list[Row]:
        blocks = blocks_of(pictures, tmp_path, at_once=3)
        ours, theirs = await asyncio.gather(blocks.run(SOURCES), blocks.run(others))
        return [*ours, *theirs]

    for _ in range(4):
        with suppress(Killed, BaseExceptionGroup):
            rows = asyncio.run(both())
            break
    assert len(rows) == 8
    assert [row.source for row in rows if row.problem] == ["/in/1.png"]


def test_rows_reach_the_journal_while_others_are_at_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocks, "FLUSH_SECONDS", 0.0)
    with pytest.raises(BaseExceptionGroup):
        asyncio.run(blocks_of(Pictures(SLOW.path), tmp_path, at_once=1).run([*SOURCES[:3], SLOW]))
    assert len(Journal(str(tmp_path), Row).settled()) == 3


def test_an_output_that_fails_ends_the_block(tmp_path: Path) -> None:
    class Failing(Pictures):
        async def row(self, source: Source) -> Row:
            raise BulkError("the output fails")

    with pytest.raises(BulkError, match="the output fails"):
        asyncio.run(blocks_of(Failing(), tmp_path).run(SOURCES))
