"""service.bulk.actor"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from service.bulk import places
from service.bulk.actor import Actor
from service.bulk.rows import MeasuredRow, Row, rows_of, sources_table
from service.bulk.work import Work


def test_tables_of_files_become_tables_of_rows_two_at_a_time(folder: Path, work: Work) -> None:
    (page, *_) = (images for images, _ in places.find([str(folder)], {".png", ".jpg"}))
    actor = Actor(work)
    try:
        with ThreadPoolExecutor(2) as threads:
            tables = threads.map(actor, [sources_table(page[:2]), sources_table(page[2:])])
            rows = [row for table in tables for row in rows_of(table, Row)]
        assert {row.source for row in rows} == {source.name for source in page}
        assert sum(row.status == "done" for row in rows) == 3
    finally:
        actor.close()


def test_an_actor_that_measures_writes_no_stream(folder: Path, work: Work) -> None:
    ((source,), _) = next(iter(places.find([str(folder / "a.png")], {".png"})))
    actor = Actor(replace(work, measures=True))
    try:
        (row,) = rows_of(actor(sources_table([source])), MeasuredRow)
    finally:
        actor.close()
    assert len(row.sizes) == 9
    assert [path.name for path in Path(work.output).iterdir()] == ["journal"]
