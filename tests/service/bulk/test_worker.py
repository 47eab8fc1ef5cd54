"""service.bulk.worker"""

from __future__ import annotations

import asyncio
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from models import Target
from service.bulk import BulkError, places
from service.bulk.places import Source
from service.bulk.work import Work
from service.bulk.worker import Compressing, Measuring, Worker
from service.engine.engine import Engine
from tests.models.metadata import samples


@pytest.fixture
def runner(engine: tuple[asyncio.Runner, Engine]) -> asyncio.Runner:
    return engine[0]


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "out"


@pytest.fixture
def worker(work: Work, engine: tuple[asyncio.Runner, Engine]) -> Worker:
    return Worker(work, engine[1])


def sources(folder: Path) -> dict[str, Source]:
    pages = places.find([str(folder)], {".png", ".jpg"})
    return {Path(source.path).name: source for page, _ in pages for source in page}


def test_a_file_becomes_a_stream_and_a_row(
    worker: Worker, runner: asyncio.Runner, output: Path, folder: Path
) -> None:
    row = runner.run(Compressing(worker).row(sources(folder)["a.png"]))
    assert (row.status, row.problem, row.width, row.height) == ("done", None, 128, 96)
    assert row.source == str(folder / "a.png")
    assert row.output is not None
    data = (output / row.output).read_bytes()
    assert row.max_bytes == int(0.5 * 128 * 96 / 8)
    assert row.bytes == len(data) <= row.max_bytes
    assert row.output == f"{row.id[:2]}/{row.id}.zgt" if row.id else False
    assert row.target_met
    assert not row.over_budget
    assert row.seconds > 0


def test_every_fault_has_its_type(worker: Worker, runner: asyncio.Runner, folder: Path) -> None:
    found = sources(folder)
    big = replace(found["a.png"], path="big.png", size=2**20 + 1)
    (folder / "b.png").unlink()
    (folder / "d.jpg").unlink()
    (folder / "d.jpg").mkdir()
    pictures = Compressing(worker)
    problems = {
        source.path: runner.run(pictures.row(source)).problem
        for source in (*(found[name] for name in ("none.png", "torn.png", "b.png", "d.jpg")), big)
    }
    assert problems == {
        "none.png": "unsupported-image",
        "torn.png": "damaged-image",
        "b.png": "source-missing",
        "d.jpg": "source-unreadable",
        "big.png": "file-too-large",
    }


def test_a_stream_over_a_strict_budget_is_refused_and_else_told(
    worker: Worker, runner: asyncio.Runner, folder: Path
) -> None:
    source = sources(folder)["a.png"]
    tiny = replace(worker.work.wishes, target=Target(max_bytes=10))
    worker.work = replace(worker.work, wishes=tiny)
    row = runner.run(Compressing(worker).row(source))
    assert (row.status, row.over_budget, row.target_met) == ("done", True, False)
    worker.work = replace(worker.work, wishes=replace(tiny, strict=True))
    row = runner.run(Compressing(worker).row(source))
    assert (row.status, row.problem, row.over_budget, row.id) == ("refused", "target-missed", True, None)


def test_the_same_content_is_compressed_once(
    worker: Worker, runner: asyncio.Runner, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compressed = []
    compress = worker.compress

    async def counted(file: bytes, wanted: object) -> object:
        compressed.append(file)
        return await compress(file, wanted)  # type: ignore[arg-type]

    monkeypatch.setattr(worker, "compress", counted)
    found = sources(folder)
    pictures = Compressing(worker)
    one, other = (runner.run(pictures.row(found[name])) for name in ("a.png", "same.png"))
    assert len(compressed) == 1
    assert one.id == other.id
    assert other.source == str(folder / "day 2" / "same.png")
    assert one.key != other.key


def test_metadata_that_is_left_out_is_told(
    worker: Worker, runner: asyncio.Runner, folder: Path, photo: Image.Image
) -> None:
    photo.save(folder / "a.png", exif=samples.exif())
    row = runner.run(Compressing(worker).row(sources(folder)["a.png"]))
    assert "exif" in [name.lower() for name in row.dropped]


def test_a_picture_is_measured_along_the_gain_axis(
    worker: Worker, runner: asyncio.Runner, folder: Path
) -> None:
    found = sources(folder)
    row = runner.run(Measuring(worker).row(found["a.png"]))
    assert (row.status, row.pixels) == ("done", 128 * 96)
    assert len(row.sizes) == len(row.mse) == len(row.ms_ssim) == 9
    assert list(row.sizes) == sorted(row.sizes)
    assert row.mse[0] > row.mse[-1]
    failed = runner.run(Measuring(worker).row(found["torn.png"]))
    assert (failed.status, failed.problem, failed.sizes) == ("failed", "damaged-image", ())


def test_an_output_that_fails_is_no_fault_of_the_file(
    worker: Worker, runner: asyncio.Runner, output: Path, folder: Path
) -> None:
    shutil.rmtree(output)
    output.write_text("a file")
    with pytest.raises(BulkError, match=f"the output {output} fails"):
        runner.run(Compressing(worker).row(sources(folder)["b.png"]))
