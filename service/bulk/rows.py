"""Rows of the manifest and of measurements, and Arrow tables of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from typing import Any, Literal, TypeVar

import pyarrow as pa

from models.rate_control import Measured

from .places import Source

Key = bytes  # of `places.Source.key`
Status = Literal["done", "refused", "failed"]

SOURCE_MISSING = "source-missing"
SOURCE_UNREADABLE = "source-unreadable"
FILE_TOO_LARGE = "file-too-large"
CRASHED = "crashed"
FAULT = "fault"  # a mistake of ours
# What another run may find otherwise; all else is the file's own fault, and stays.
PASSING = frozenset(
    {SOURCE_MISSING, SOURCE_UNREADABLE, FAULT, "out-of-memory", "worker-died", "deadline-exceeded"}
)

_KEY = pa.binary(16)
_SOURCE = [
    pa.field("root", pa.string()),
    pa.field("path", pa.string()),
    pa.field("size", pa.int64()),
    pa.field("etag", pa.string()),
    pa.field("max_bytes", pa.int64()),
]
SOURCES = pa.schema(_SOURCE)
"""What actors are given."""

MANIFEST = pa.schema(
    [
        pa.field("source", pa.string()),
        pa.field("source_bytes", pa.int64()),
        pa.field("etag", pa.string()),
        pa.field("status", pa.string()),
        pa.field("problem", pa.string()),
        pa.field("detail", pa.string()),
        pa.field("id", pa.string()),
        pa.field("output", pa.string()),
        pa.field("bytes", pa.int64()),
        pa.field("bpp", pa.float64()),
        pa.field("width", pa.int32()),
        pa.field("height", pa.int32()),
        pa.field("quality", pa.float64()),
        pa.field("codec", pa.string()),
        pa.field("model_id", pa.string()),
        pa.field("max_bytes", pa.int64()),
        pa.field("target_met", pa.bool_()),
        pa.field("over_budget", pa.bool_()),
        pa.field("psnr", pa.float64()),
        pa.field("ms_ssim", pa.float64()),
        pa.field("ssimulacra2", pa.float64()),
        pa.field("dropped", pa.list_(pa.string())),
        pa.field("warnings", pa.list_(pa.string())),
        pa.field("seconds", pa.float64()),
        pa.field("finished", pa.timestamp("us", "UTC")),
        pa.field("settings", pa.string()),
        pa.field("key", _KEY),
    ]
)

MEASURED = pa.schema(
    [
        *_SOURCE[:4],
        pa.field("status", pa.string()),
        pa.field("problem", pa.string()),
        pa.field("detail", pa.string()),
        pa.field("width", pa.int32()),
        pa.field("height", pa.int32()),
        pa.field("sizes", pa.list_(pa.int64())),
        pa.field("mse", pa.list_(pa.float64())),
        pa.field("ms_ssim", pa.list_(pa.float64())),
        pa.field("seconds", pa.float64()),
        pa.field("finished", pa.timestamp("us", "UTC")),
        pa.field("key", _KEY),
    ]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What became of a file: a row of the manifest.

    Attributes:
        source: path or address.
        source_bytes, etag: as it was listed.
        status: "done"; "refused", no stream keeps what was asked for strictly; or "failed".
        problem: what failed, as the end of a problem's type over HTTP or one of those above.
        detail: of the problem, for people.
        id: SHA-256 of the stream.
        output: the stream's name in the output.
        bytes: of the stream.
        bpp: bits per pixel of it.
        width, height: in pixels.
        quality: position on the codec's axis.
        codec: "learned" or "hybrid".
        model_id: 8 hex digits.
        max_bytes: its budget, if it had one.
        target_met: the stream is within its budget and close to it, and reaches its minima.
        over_budget: the smallest stream is larger than its budget, or falls short of its minima.
        psnr, ms_ssim, ssimulacra2: of the decoded picture, where measured.
        dropped: metadata of the file that the stream does not have.
        warnings: what is wrong with the file although it was read.
        seconds: from the first byte read to the stored stream.
        finished: when.
        settings: what was asked for, in JSON.
        key: of the file's version and the settings.
    """

    source: str
    source_bytes: int
    etag: str
    status: Status
    problem: str | None = None
    detail: str | None = None
    id: str | None = None
    output: str | None = None
    bytes: int | None = None
    bpp: float | None = None
    width: int | None = None
    height: int | None = None
    quality: float | None = None
    codec: str | None = None
    model_id: str | None = None
    max_bytes: int | None = None
    target_met: bool | None = None
    over_budget: bool = False
    psnr: float | None = None
    ms_ssim: float | None = None
    ssimulacra2: float | None = None
    dropped: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    seconds: float
    finished: datetime
    settings: str
    key: Key


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredRow:
    """A file's picture along the gain axis of a model, or why it was not measured.

    Attributes:
        root, path, size, etag: of the file.
        status, problem, detail: as of `Row`.
        width, height: in pixels.
        sizes: bytes at each of `models.collection.QUALITIES`, metadata included.
        mse, ms_ssim: there, too.
        seconds: that it took.
        finished: when.
        key: of the file's version, the model and the metadata that is kept.
    """

    root: str
    path: str
    size: int
    etag: str
    status: Status
    problem: str | None = None
    detail: str | None = None
    width: int | None = None
    height: int | None = None
    sizes: tuple[int, ...] = ()
    mse: tuple[float, ...] = ()
    ms_ssim: tuple[float, ...] = ()
    seconds: float
    finished: datetime
    key: Key

    @property
    def pixels(self) -> int:
        """Width times height."""
        return (self.width or 0) * (self.height or 0)

    @property
    def measured(self) -> list[Measured]:
        """The measurements, one by one."""
        return [Measured(*point) for point in zip(self.sizes, self.mse, self.ms_ssim, strict=True)]


AnyRow = TypeVar("AnyRow", bound=Row | MeasuredRow)


def schema_of(kind: type[AnyRow]) -> pa.Schema:
    """The columns of rows of a kind."""
    return MANIFEST if kind is Row else MEASURED


def table(rows: Iterable[AnyRow], kind: type[AnyRow]) -> pa.Table:
    """Rows of a kind as a table."""
    return pa.Table.from_pylist([asdict(row) for row in rows], schema_of(kind))


def rows_of(table: pa.Table, kind: type[AnyRow]) -> list[AnyRow]:
    """A table's rows."""
    names = [field.name for field in fields(kind)]
    return [kind(**{name: _plain(row[name]) for name in names}) for row in table.to_pylist()]


def sources_table(sources: Iterable[Source]) -> pa.Table:
    """Files as a table, to be given to actors."""
    return pa.Table.from_pylist([asdict(source) for source in sources], SOURCES)


def sources_of(table: pa.Table) -> list[Source]:
    """A table's files."""
    return [Source(**row) for row in table.to_pylist()]


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
