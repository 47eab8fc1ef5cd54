"""A pool in this process: the real actor and the real functions, without Ray."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import pyarrow as pa

from service.bulk.actor import Actor
from service.bulk.rows import MeasuredRow, Row
from service.bulk.work import Share, Work


class Local:
    """One actor at a time.

    Attributes:
        done: names of the files that actors were given, in order.
        stop_after: blocks after which the pool dies; None, never.
    """

    def __init__(self) -> None:
        self.done: list[str] = []
        self.stop_after: int | None = None

    def share(self, device: str) -> Share:
        return Share(actors=1, cores=1, gpus=0)

    def run(self, blocks: Sequence[pa.Table], work: Work, share: Share) -> Iterator[pa.Table]:
        if not blocks:
            return
        actor = Actor(work)
        try:
            for number, block in enumerate(blocks):
                if number == self.stop_after:
                    raise KeyboardInterrupt
                self.done += block["path"].to_pylist()
                yield actor(block)
        finally:
            actor.close()

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
