"""service.bulk.journal"""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from service.bulk import BulkError
from service.bulk.journal import Attempt, Attempts, Journal, find, keys_of
from service.bulk.rows import Row, rows_of
from tests.service.bulk.test_rows import ROW


def key(number: int) -> bytes:
    return bytes([number] * 14 + [0, 0])  # ends in zeros, which arrays of bytes do not show


@pytest.fixture
def journal(tmp_path: Path) -> Journal[Row]:
    return Journal(str(tmp_path), Row)


def test_what_is_finished_is_settled_and_what_may_pass_is_not(
    journal: Journal[Row], loop: asyncio.Runner
) -> None:
    failed = replace(ROW, status="failed", problem="damaged-image", key=key(2))
    gone = replace(ROW, status="failed", problem="source-missing", key=key(3))
    loop.run(journal.add("one", [replace(ROW, key=key(1)), failed, gone]))
    loop.run(journal.add("two", [replace(ROW, key=key(4))]))
    settled = journal.settled()
    assert (find(settled, keys_of([key(number) for number in range(6)])) >= 0).tolist() == [
        *(False, True, True, False, True, False)
    ]


def test_an_empty_journal_settles_nothing(journal: Journal[Row]) -> None:
    assert len(journal.settled()) == 0
    assert find(journal.settled(), keys_of([key(1)])).tolist() == [-1]
    assert list(journal.select(keys_of([key(1)]))) == []


def test_of_two_rows_of_a_key_the_later_counts_once(journal: Journal[Row], loop: asyncio.Runner) -> None:
    loop.run(journal.add("z", [replace(ROW, key=key(1), bytes=1), replace(ROW, key=key(2), bytes=2)]))
    loop.run(journal.add("a", [replace(ROW, key=key(1), bytes=3)] * 2))
    wanted = np.unique(keys_of([key(1), key(2), key(9)]))
    rows = [
        row.bytes
        for name, _, places in journal.select(wanted)
        for row in rows_of(journal.read(name).take(places), Row)
    ]
    assert rows == [3, 2]


def test_rows_of_a_block_are_those_since(journal: Journal[Row], loop: asyncio.Runner) -> None:
    loop.run(journal.add("b", [replace(ROW, key=key(1))]))
    since = time.time_ns()
    loop.run(journal.add("b", [replace(ROW, key=key(2))]))
    loop.run(journal.add("c", [replace(ROW, key=key(3))]))
    assert [row.key for row in loop.run(journal.of_block("b", since))] == [key(2)]


def test_an_attempt_remembers_those_before(tmp_path: Path, loop: asyncio.Runner) -> None:
    attempts = Attempts(str(tmp_path))
    first = loop.run(attempts.begin("block"))
    assert (first.number, first.at, first.deaths) == (1, None, {})
    second = loop.run(attempts.begin("block"))
    assert (second.number, second.since, second.deaths) == (2, first.since, {})
    loop.run(attempts.at("block", second, key(1)))
    third = loop.run(attempts.begin("block"))
    loop.run(attempts.at("block", third, key(1)))
    fourth = loop.run(attempts.begin("block"))
    assert (fourth.number, fourth.deaths) == (4, {key(1).hex(): 2})
    attempts.forget()
    attempts.forget()
    assert loop.run(attempts.begin("block")).number == 1


def test_an_attempt_that_died_with_several_at_work_blames_none() -> None:
    assert Attempt(1, 5).next() == Attempt(2, 5, None, {})
    assert Attempt(2, 5, "aa", {"aa": 1}).next() == Attempt(3, 5, None, {"aa": 2})


def test_a_part_that_is_damaged_is_named(tmp_path: Path, journal: Journal[Row], loop: asyncio.Runner) -> None:
    loop.run(journal.add("b", [ROW]))
    (part,) = (tmp_path / "journal" / "rows" / "b").iterdir()
    part.write_bytes(b"PAR1")
    with pytest.raises(BulkError, match=part.name):
        journal.settled()
