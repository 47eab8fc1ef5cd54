"""One budget for all pictures of a job, from the measurements in its journal.

Each function takes a table of parts of the journal and which of their rows count, and reads those:
so a cluster does it in pieces, and no piece is larger than a part. What is put together is a
histogram, `models.rate_control.price`, as large for a million pictures as for one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from models.rate_control import Metric, Pieces, Price, RateDistortion, SlopeHistogram

from .journal import Journal
from .places import Source
from .rows import MeasuredRow, rows_of, sources_table

PARTS = pa.schema([pa.field("part", pa.string()), pa.field("rows", pa.list_(pa.int64()))])
"""Parts of the journal, and the places of the rows that count."""

_SEEN = pa.schema(
    [
        pa.field("counted", pa.binary()),
        pa.field("smallest", pa.int64()),
        pa.field("pictures", pa.int64()),
        pa.field("pixels", pa.int64()),
    ]
)


@dataclass(slots=True)
class Seen:
    """What a look at pictures has found.

    Attributes:
        histogram: of the price of a byte.
        pictures: how many there are.
        pixels: of all of them.
    """

    histogram: SlopeHistogram
    pictures: int = 0
    pixels: int = 0

    @classmethod
    def of(cls, tables: Iterable[pa.Table], inside: int | None = None) -> Seen:
        """Put the tables of `look` together."""
        seen = cls(SlopeHistogram.empty(inside))
        for row in (row for table in tables for row in table.to_pylist()):
            counted = np.frombuffer(row["counted"], np.int64)
            seen.histogram.merge(SlopeHistogram(counted, inside, row["smallest"]))
            seen.pictures += row["pictures"]
            seen.pixels += row["pixels"]
        return seen


def parts_table(parts: Iterable[tuple[str, NDArray[np.intp]]]) -> pa.Table:
    """Parts of the journal as a table."""
    return pa.Table.from_pylist([{"part": part, "rows": rows.tolist()} for part, rows in parts], PARTS)


def look(parts: pa.Table, output: str, metric: Metric, inside: int | None) -> pa.Table:
    """Count the pieces of pictures' curves: all, or those inside a bin of an earlier look."""
    seen = Seen(SlopeHistogram.empty(inside))
    for row in _rows(parts, output):
        seen.histogram.add(_pieces(row, metric))
        seen.pictures += 1
        seen.pixels += row.pixels
    counted = seen.histogram.counted.tobytes()
    found = (counted, seen.histogram.smallest, seen.pictures, seen.pixels)
    return pa.Table.from_pylist([dict(zip(_SEEN.names, found, strict=True))], _SEEN)


def shares(parts: pa.Table, output: str, metric: Metric, price: Price) -> pa.Table:
    """Give each picture its share of the budget; returns files, with their `max_bytes`."""
    return sources_table(
        Source(row.root, row.path, row.size, row.etag, price.budget(_pieces(row, metric)))
        for row in _rows(parts, output)
    )


def _pieces(row: MeasuredRow, metric: Metric) -> Pieces:
    return Pieces.of([RateDistortion.of(row.measured, metric, row.pixels)])


def _rows(parts: pa.Table, output: str) -> Iterator[MeasuredRow]:
    journal = Journal(output, MeasuredRow)
    for part in parts.to_pylist():
        yield from rows_of(journal.read(part["part"]).take(part["rows"]), MeasuredRow)
