"""Every benchmark explains itself; those that take seconds on tiny pictures run."""

from __future__ import annotations

import json
import sys
from importlib import import_module
from pathlib import Path

import pytest
from PIL import Image

from benchmarks.program import files_of, write

PROGRAMS = (
    "allocation",
    "attacks",
    "before_after",
    "effort",
    "enhance",
    "faults",
    "gpu",
    "hybrid",
    "large_image",
    "load",
    "rate_control",
    "replicas",
    "scaling",
    "soak",
    "speed",
    "throughput",
    "workers",
)


@pytest.fixture
def folder(photo: Image.Image, tmp_path: Path) -> Path:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    photo.crop((0, 0, 64, 64)).save(pictures / "a.png")
    photo.crop((32, 32, 128, 96)).save(pictures / "b.png")
    (pictures / "notes.txt").write_text("not a picture")
    return pictures


def run(program: str, *arguments: object) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [program, *map(str, arguments)])
        import_module(f"benchmarks.{program}").main()


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_shows_how_it_is_called(program: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        run(program, "--help")
    shown = capsys.readouterr().out
    assert f"python -m benchmarks.{program} " in shown
    assert "--output" in shown


def test_rate_control(folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "found.json"
    run("rate_control", folder, "--output", output)
    found = json.loads(output.read_text())
    assert [trial["image"] for trial in found["trials"][::6]] == ["a", "b"]
    assert found["environment"]["torch"]


def test_allocation_judges_a_profile_by_its_metric(folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "found.json"
    run("allocation", folder, "--bpp", 0.6, "--profile", "psnr", "--output", output)
    (found,) = json.loads(output.read_text())["models"]
    assert found["metric"] == "psnr"
    assert found["budget"] == int(0.6 * (64 * 64 + 96 * 64) / 8)
    ways = [row["way"] for row in found["rows"]]
    assert ways == ["constant bpp", "constant quality", "shared budget"]
    assert all(row["bytes"] <= found["budget"] for row in found["rows"][::2])


def test_effort_against_another_codec(folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "found.json"
    rates = ("--bpp", 0.8, 1.2, "--efforts", 0, "--against", "webp")
    run("effort", folder, *rates, "--output", output)
    found = json.loads(output.read_text())
    assert [row["mean"]["setting"] for row in found["rows"]] == [0.8, 1.2]
    assert {comparison["anchor"] for comparison in found["comparisons"]} == {"webp"}


def test_files_are_those_that_a_service_can_be_sent(folder: Path, tmp_path: Path) -> None:
    assert [path.name for path in files_of(folder)] == ["a.png", "b.png"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(SystemExit, match="no pictures"):
        files_of(tmp_path / "empty")


def test_facts_say_what_they_were_measured_by(tmp_path: Path) -> None:
    write(tmp_path / "facts.json", {"seconds": 1.5})
    facts = json.loads((tmp_path / "facts.json").read_text())
    assert facts["seconds"] == 1.5
    assert {"python", "torch", "cores", "torch_threads"} <= set(facts["environment"])
