"""`ziggurat compare`, run as a user runs it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.service.conftest import Terminal


@pytest.fixture
def original(tmp_path: Path, photo: Image.Image) -> Path:
    path = tmp_path / "original.png"
    photo.save(path)
    return path


def test_images_and_streams_are_compared_in_a_table(
    terminal: Terminal, original: Path, photo_file: Path, stream_file: Path
) -> None:
    assert terminal.run("compare", original, photo_file, stream_file, original) == 0
    header, first, *others = terminal.out.splitlines()
    assert header.split() == ["bytes", "bpp", "PSNR", "MS-SSIM", "SSIMULACRA2", "CIEDE2000"]
    assert first.split()[:2] == [str(original), str(original.stat().st_size)]
    by_file = {line.split()[0]: line.split()[1:] for line in others}
    assert float(by_file[str(photo_file)][2]) > float(by_file[str(stream_file)][2]) > 20
    assert by_file[str(original)][2:] == ["inf", "1.0000", "100.00", "0.00"]


def test_json_has_null_for_an_infinite_psnr_and_the_alpha_plane(
    terminal: Terminal, original: Path, photo: Image.Image
) -> None:
    clear = original.with_name("clear.png")
    transparent = photo.copy()
    transparent.putalpha(128)
    transparent.save(clear)
    assert terminal.run("compare", original, clear, "--json") == 0
    facts = json.loads(terminal.out)
    assert facts["psnr"] is None
    assert facts["alpha_psnr"] < 10
    assert (facts["width"], facts["bytes"]) == (128, clear.stat().st_size)
    assert facts["status"] == "done"


def test_a_map_is_written_and_never_over_a_source(
    terminal: Terminal, original: Path, stream_file: Path
) -> None:
    heat_map = original.with_name("map.png")
    command = ("compare", original, stream_file, "--heat-map")
    assert terminal.run(*command, heat_map) == 0
    with Image.open(heat_map) as image:
        assert image.height > 96
    assert terminal.run(*command, heat_map) == 2
    assert terminal.run(*command, heat_map, "--force") == 0
    before = original.read_bytes()
    assert terminal.run(*command, original, "--force") == 2
    assert original.read_bytes() == before
    assert terminal.run("compare", original, stream_file, heat_map, "--heat-map", "new.png") == 2


def test_pictures_of_other_sizes_are_told_and_the_rest_is_compared(
    terminal: Terminal, original: Path, photo: Image.Image
) -> None:
    small = original.with_name("small.png")
    photo.crop((0, 0, 7, 7)).save(small)
    assert terminal.run("compare", original, small, original) == 1
    assert "small.png: 7x7 pixels, and the original has 128x96" in terminal.err
    assert len(terminal.out.splitlines()) == 3
    other = small.with_name("other.png")
    photo.crop((9, 9, 16, 16)).save(other)
    assert terminal.run("compare", small, other, "--json") == 0  # too small for one of the metrics
    assert json.loads(terminal.out)["ssimulacra2"] is None


@pytest.mark.parametrize("arguments", [["nowhere.png", "nowhere.png"], [".", "."], ["-", "-"]])
def test_what_cannot_be_compared_is_a_usage_error(
    terminal: Terminal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert terminal.run("compare", *arguments) == 2
    assert len(terminal.err.splitlines()) == 1


def test_the_extra_of_evaluate_is_not_needed(original: Path, photo_file: Path) -> None:
    extra = ("matplotlib", "pillow_heif", "pillow_jxl", "piq", "imageio_ffmpeg", "pycvvdp")
    program = (
        f"import sys; sys.modules |= dict.fromkeys({extra})\n"
        "from service.cli import main; main(['compare', *sys.argv[1:], '--json'])"
    )
    command = [sys.executable, "-c", program, str(original), str(photo_file)]
    compared = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert compared["ssimulacra2"] > 50
    assert 0 < compared["ciede2000"] < 5
