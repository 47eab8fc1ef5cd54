"""service.bulk.job, with the real actor in this process. `test_cluster` has the same with Ray."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from models import Target
from models.bitstream import Bitstream
from service.bulk import BulkError
from service.bulk.job import MANIFEST_NAME, Job, Listing, check_output, unfinished
from service.bulk.rows import MANIFEST
from service.bulk.work import Wishes
from service.engine.engine import Engine
from tests.service.bulk.local import Local, Told

PIXELS = 4 * 128 * 96 + 90 * 70


class Run:
    """A job as a command runs it."""

    def __init__(self, pool: Local, folder: Path, output: Path, wishes: Wishes, force: bool) -> None:
        self.pool = pool
        self.told = Told()
        self.job = Job(
            pool,
            wishes,
            Listing([str(folder)], {".png", ".jpg"}),
            str(output),
            device="cpu",
            max_pixels=40_000_000,
            max_file_bytes=2**20,
            force=force,
            teller=self.told,
        )


NewRun = Callable[..., Run]


@pytest.fixture
def new_run(folder: Path, tmp_path: Path, engine: tuple[asyncio.Runner, Engine]) -> NewRun:
    def run(wishes: Wishes, *, of: Path = folder, force: bool = False) -> Run:
        return Run(Local(*engine), of, tmp_path / "out", wishes, force)

    return run


def manifest(output: Path) -> dict[str, dict[str, Any]]:
    rows = pq.read_table(output / MANIFEST_NAME).to_pylist()
    named = {Path(row["source"]).name: row for row in rows}
    assert len(named) == len(rows)
    return named


def test_a_job_that_was_stopped_goes_on_and_does_nothing_twice(
    new_run: NewRun, folder: Path, tmp_path: Path, wishes: Wishes
) -> None:
    output = tmp_path / "out"
    stopped = new_run(wishes)
    stopped.pool.stop_after = 3
    with pytest.raises(KeyboardInterrupt):
        stopped.job.each()
    assert not (output / MANIFEST_NAME).exists()

    run = new_run(wishes)
    summary = run.job.each()

    assert run.told.passes == [("Compressing", 4, 3)]
    assert sorted(stopped.pool.done + run.pool.done) == sorted(
        ["a.png", "b.png", "d.jpg", "day 2/c.png", "day 2/same.png", "none.png", "torn.png"]
    )
    assert (summary.done, summary.failed, summary.over) == (5, 2, 0)
    rows = manifest(output)
    assert pq.read_schema(output / MANIFEST_NAME).equals(MANIFEST)
    assert rows["torn.png"]["problem"] == "damaged-image"
    assert rows["a.png"]["id"] == rows["same.png"]["id"]
    assert len(list(output.glob("??/*.zgt"))) == 4
    for row in rows.values():
        if row["status"] == "done":
            data = (output / row["output"]).read_bytes()
            assert len(data) == row["bytes"] <= row["max_bytes"]
            assert Bitstream.parse(data).width == row["width"]
    assert summary.bytes == sum(row["bytes"] or 0 for row in rows.values())
    assert summary.pixels == PIXELS

    again = new_run(wishes)
    assert again.job.each() == summary
    assert again.pool.done == []
    assert manifest(output) == rows

    (folder / "b.png").write_bytes((folder / "a.png").read_bytes())  # a new version
    (folder / "d.jpg").unlink()
    changed = new_run(wishes)
    assert changed.job.each().done == 4
    assert changed.pool.done == ["b.png"]
    assert "d.jpg" not in manifest(output)

    other = new_run(replace(wishes, target=Target(quality=30)))
    other.job.each()
    assert len(other.pool.done) == 6
    forced = new_run(wishes, force=True)
    forced.job.each()
    assert len(forced.pool.done) == 6


def test_one_budget_is_kept_and_measurements_are_kept_for_another(
    new_run: NewRun, tmp_path: Path, wishes: Wishes
) -> None:
    output = tmp_path / "out"
    wishes = replace(wishes, target=None)
    run = new_run(wishes)
    summary = run.job.one_budget(bpp=0.5, max_bytes=None, metric="ms-ssim")
    assert [what for what, _, _ in run.told.passes] == ["Measuring", "Compressing"]
    assert summary.budget == int(0.5 * PIXELS / 8)
    assert 0.99 * summary.budget <= summary.bytes <= summary.budget
    assert (summary.done, summary.failed, summary.over, summary.reach) == (5, 2, 0, "within")
    assert summary.psnr is not None
    assert 20 < summary.psnr < 60
    assert summary.ms_ssim is not None
    assert 0.8 < summary.ms_ssim < 1
    rows = manifest(output)
    assert rows["torn.png"]["problem"] == "damaged-image"
    assert rows["c.png"]["bpp"] != pytest.approx(rows["b.png"]["bpp"], rel=0.01)

    again = new_run(wishes)
    assert again.job.one_budget(bpp=0.5, max_bytes=None, metric="ms-ssim") == summary
    assert again.pool.done == []
    other = new_run(wishes)
    more = other.job.one_budget(bpp=None, max_bytes=3000, metric="psnr")
    assert other.told.passes[0] == ("Measuring", 0, 7)
    assert 2970 <= more.bytes <= 3000


@pytest.mark.parametrize("strict", [False, True])
def test_a_budget_below_the_range_is_told_or_refused(
    new_run: NewRun, tmp_path: Path, wishes: Wishes, strict: bool
) -> None:
    output = tmp_path / "out"
    run = new_run(replace(wishes, target=None, strict=strict))
    summary = run.job.one_budget(bpp=None, max_bytes=50, metric="ms-ssim")
    assert (summary.reach, summary.over, summary.failed) == ("below", 5, 2)
    assert summary.bytes > 50
    assert summary.refused == (5 if strict else 0)
    assert len(list(output.glob("??/*.zgt"))) == (0 if strict else 4)


def test_a_location_named_twice_is_listed_once(folder: Path) -> None:
    once = Listing([str(folder)], {".png"}).sources
    listing = Listing([str(folder), str(folder / "day 2"), str(folder)], {".png"})
    assert listing.sources.equals(once)


def test_what_is_unfinished_is_counted_and_nothing_made(
    new_run: NewRun, folder: Path, tmp_path: Path, wishes: Wishes
) -> None:
    listing = Listing([str(folder)], {".jpg"})
    output = tmp_path / "out"
    assert unfinished(listing, wishes, str(output), force=False) == 1
    assert not output.exists()
    new_run(wishes, of=folder / "d.jpg").job.each()
    assert unfinished(listing, wishes, str(output), force=False) == 0
    assert unfinished(listing, wishes, str(output), force=True) == 1
    assert unfinished(listing, replace(wishes, target=None), str(output), force=False) == 1


def test_a_manifest_of_somebody_else_is_left_alone(
    new_run: NewRun, tmp_path: Path, folder: Path, wishes: Wishes
) -> None:
    output = tmp_path / "out"
    check_output(str(output))
    output.mkdir()
    check_output(str(output))
    (output / MANIFEST_NAME).write_bytes(b"theirs")
    with pytest.raises(BulkError, match="no journal"):
        check_output(str(output))
    (output / MANIFEST_NAME).unlink()
    new_run(wishes, of=folder / "d.jpg").job.each()
    check_output(str(output))
