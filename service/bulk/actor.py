"""What Ray's pools hold: one engine each, for as long as the pool lasts."""

from __future__ import annotations

import asyncio
from typing import Any

import pyarrow as pa

from .blocks import Blocks
from .journal import Attempts, Journal
from .rows import MeasuredRow, Row, sources_of, table
from .work import Work
from .worker import Pictures, Worker


class Actor:
    """Makes tables of rows of tables of files."""

    def __init__(self, work: Work) -> None:
        self._loop = asyncio.new_event_loop()
        self._worker = Worker(work)
        self._kind: Any = MeasuredRow if work.measures else Row
        do: Any = self._worker.measure if work.measures else self._worker.compress
        self._blocks: Blocks[Any] = Blocks(
            Pictures(work, self._kind, do),
            Journal(work.output, self._kind),
            Attempts(work.output),
            settings=work.settings,
            at_once=work.means.at_once,
        )
        self._loop.run_until_complete(self._worker.start())

    def __call__(self, files: pa.Table) -> pa.Table:
        """Do the files of a table; returns a row for each, in no order."""
        rows = self._loop.run_until_complete(self._blocks.run(sources_of(files)))
        return table(rows, self._kind)

    def close(self) -> None:
        """Stop the engine. Ray ends the process instead."""
        self._loop.run_until_complete(self._worker.close())
        self._loop.close()
