"""service.bulk.rows"""

from __future__ import annotations

from dataclasses import fields
from datetime import UTC, datetime

import pyarrow as pa
import pytest

from service.bulk.places import Source
from service.bulk.rows import (
    MeasuredRow,
    Row,
    rows_of,
    schema_of,
    sources_of,
    sources_table,
    table,
)

NOW = datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC)
ROW = Row(
    source="s3://in/a.png",
    source_bytes=10,
    etag="v1",
    status="done",
    bytes=5,
    dropped=("exif",),
    seconds=0.5,
    finished=NOW,
    settings="{}",
    key=b"0123456789abcde\0",
)
MEASURED = MeasuredRow(
    root="s3://in",
    path="a.png",
    size=10,
    etag="v1",
    status="done",
    width=3,
    height=2,
    sizes=(100, 200),
    mse=(0.2, 0.1),
    ms_ssim=(0.8, 0.9),
    seconds=0.5,
    finished=NOW,
    key=bytes(16),
)


@pytest.mark.parametrize("kind", [Row, MeasuredRow])
def test_columns_are_the_fields(kind: type[Row] | type[MeasuredRow]) -> None:
    assert set(schema_of(kind).names) == {field.name for field in fields(kind)}


def test_rows_go_into_a_table_and_back() -> None:
    assert rows_of(table([ROW], Row), Row) == [ROW]
    assert rows_of(table([MEASURED], MeasuredRow), MeasuredRow) == [MEASURED]
    assert table([], Row).schema == schema_of(Row)


def test_sources_go_into_a_table_and_back() -> None:
    sources = [Source("s3://in", "a.png", 10, "v1"), Source("/in", "b.png", 11, "", max_bytes=7)]
    assert sources_of(sources_table(sources)) == sources


def test_measurements_are_points() -> None:
    assert [point.size for point in MEASURED.measured] == [100, 200]
    assert MEASURED.measured[1].ms_ssim == 0.9
    assert MEASURED.pixels == 6


def test_a_key_is_16_bytes() -> None:
    assert table([ROW], Row).schema.field("key").type == pa.binary(16)
