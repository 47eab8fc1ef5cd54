"""A pool in this process: the real engine and the real functions, without Ray."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pyarrow as pa

from service.bulk.blocks import Blocks
from service.bulk.journal import Attempts, Journal
from service.bulk.rows import MeasuredRow, Row, sources_of, table
from service.bulk.work import Share, Work
from service.bulk.worker import Compressing, Measuring, Worker
from service.engine.engine import Engine


class Local:
    """One actor, for all runs.

    Args:
        runner: of the engine.
        engine: which runs.

    Attributes:
        done: names of the files that the actor was given, in order.
        stop_after: blocks after which the pool dies; None, never.
    """

    def __init__(self, runner: asyncio.Runner, engine: Engine) -> None:
        self._runner = runner
        self._engine = engine
        self.done: list[str] = []
        self.stop_after: int | None = None

    def share(self, device: str) -> Share:
        return Share(actors=1, cores=1, gpus=0)

    def run(self, blocks: Sequence[pa.Table], work: Work, share: Share) -> Iterator[pa.Table]:
        worker = Worker(work, self._engine)
        kind: Any = MeasuredRow if work.measures else Row
        pictures: Any = (Measuring if work.measures else Compressing)(worker)
        journal: Journal[Any] = Journal(work.output, kind)
        doing = Blocks(pictures, journal, Attempts(work.output), settings=work.settings, at_once=2)
        for number, block in enumerate(blocks):
            if number == self.stop_after:
                raise KeyboardInterrupt
            self.done += block["path"].to_pylist()
            yield table(self._runner.run(doing.run(sources_of(block))), kind)

    def map(
        self, blocks: Sequence[pa.Table], function: Callable[..., pa.Table], *arguments: object
    ) -> Iterator[pa.Table]:
        for block in blocks:
            yield function(block, *arguments)


class Told:
    """Remembers what it is told."""

    def __init__(self) -> None:
        self.passes: list[tuple[str, int, int]] = []
        self.all: list[Row | MeasuredRow] = []

    def begin(self, what: str, to_do: int, done_before: int) -> None:
        self.passes.append((what, to_do, done_before))

    def rows(self, rows: Sequence[Row | MeasuredRow]) -> None:
        self.all += rows
