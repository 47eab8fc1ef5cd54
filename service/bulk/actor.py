"""What Ray's pools hold: one engine each, for as long as the pool lasts."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

import pyarrow as pa

from .blocks import Blocks
from .journal import Attempts, Journal
from .rows import MeasuredRow, Row, sources_of, table
from .work import Work
from .worker import Compressing, Measuring, Worker

_T = TypeVar("_T")


class Actor:
    """Makes tables of rows of tables of files; several tables at a time, from several threads."""

    def __init__(self, work: Work) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="engine", daemon=True)
        self._thread.start()
        self._kind: Any = MeasuredRow if work.measures else Row
        self._worker, self._blocks = self._here(self._started(work))

    def __call__(self, files: pa.Table) -> pa.Table:
        """Do the files of a table; returns a row for each, in no order."""
        return table(self._here(self._blocks.run(sources_of(files))), self._kind)

    def close(self) -> None:
        """Stop the engine. Ray ends the process instead."""
        self._here(self._worker.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _here(self, coroutine: Coroutine[Any, Any, _T]) -> _T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    async def _started(self, work: Work) -> tuple[Worker, Blocks[Any]]:
        worker = Worker(work)
        await worker.start()
        pictures: Any = (Measuring if work.measures else Compressing)(worker)
        blocks: Blocks[Any] = Blocks(
            pictures,
            Journal(work.output, self._kind),
            Attempts(work.output),
            settings=work.settings,
            at_once=work.means.at_once,
        )
        return worker, blocks
