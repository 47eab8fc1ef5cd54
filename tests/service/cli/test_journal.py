"""The journal: what the next run knows of what this one measured and made."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from models.rate_control import Measured
from service.cli.journal import Journal, MadeStream, MeasuredImage

RESULT = Measured(size=900, mse=31.5, ms_ssim=0.95)
IMAGE = MeasuredImage("a" * 64, "0badcafe", 128, 96, (RESULT, replace(RESULT, size=1200)))
STREAM = MadeStream("a" * 64, "0badcafe", 910, 2, "b" * 64, 41.5, RESULT)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "allocation.jsonl"
    journal = Journal(path)
    journal.add(IMAGE)
    journal.add(STREAM)
    return path


def test_the_next_run_knows_what_was_measured_and_made(path: Path) -> None:
    journal = Journal(path)
    assert journal.image(IMAGE.image, IMAGE.model) == IMAGE
    assert journal.stream(STREAM.image, STREAM.model, STREAM.max_bytes, STREAM.effort) == STREAM
    assert journal.ids == {STREAM.id}


def test_another_model_budget_or_effort_is_not_known(path: Path) -> None:
    journal = Journal(path)
    assert journal.image(IMAGE.image, "00000000") is None
    assert journal.stream(STREAM.image, STREAM.model, STREAM.max_bytes + 1, STREAM.effort) is None
    assert journal.stream(STREAM.image, STREAM.model, STREAM.max_bytes, STREAM.effort + 1) is None


def test_a_line_cut_off_by_a_crash_takes_no_other_with_it(path: Path) -> None:
    path.write_text(path.read_text()[:-20])
    Journal(path).add(replace(STREAM, effort=9, id="c" * 64))
    journal = Journal(path)
    assert journal.image(IMAGE.image, IMAGE.model) == IMAGE
    assert journal.ids == {"c" * 64}


@pytest.mark.parametrize("line", ["[]", "7", "{}", '{"measured": 7}', '{"result": {"size": 1}}'])
def test_lines_of_another_version_count_as_not_written(tmp_path: Path, line: str) -> None:
    path = tmp_path / "allocation.jsonl"
    path.write_text(f"{line}\n")
    assert Journal(path).ids == set()


def test_the_names_in_the_file_are_those_of_earlier_versions(path: Path) -> None:
    image, stream = (json.loads(line) for line in path.read_text().splitlines() if line)
    assert set(image) == {"image", "model", "width", "height", "measured"}
    earlier = {"image", "model", "max_bytes", "effort", "id", "quality", "result"}
    assert set(stream) == earlier | {"metadata"}
    path.write_text(json.dumps({name: value for name, value in stream.items() if name in earlier}))
    assert Journal(path).ids == {stream["id"]}, "one from before there was metadata is read"


def test_an_image_knows_its_pixels() -> None:
    assert IMAGE.pixels == 128 * 96
