"""`ziggurat compress` with a budget for each image, run as a user runs it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image

from tests.models.metadata import samples
from tests.service.conftest import Terminal


def test_a_photograph_goes_to_its_budget_and_comes_back(
    terminal: Terminal, photo_file: Path, photo: Image.Image
) -> None:
    stream = photo_file.with_name("out.zgt")
    png = photo_file.with_name("back.png")
    assert terminal.run("compress", photo_file, "--bpp", "1", "-o", stream) == 0
    assert 8 * stream.stat().st_size / (128 * 96) <= 1
    assert f"{stream.stat().st_size} bytes" in terminal.err
    assert terminal.out == ""
    assert terminal.run("decompress", stream, "-o", png) == 0
    with Image.open(png) as decoded:
        error = np.asarray(decoded, dtype=float) - np.asarray(photo, dtype=float)
    assert 10 * np.log10(255**2 / np.mean(error**2)) > 24


def test_max_bytes_and_profile(terminal: Terminal, photo_file: Path) -> None:
    assert terminal.run("compress", photo_file, "--max-bytes", "900", "--profile", "psnr") == 0
    stream = photo_file.with_suffix(".zgt")
    assert stream.stat().st_size <= 900
    assert terminal.run("info", stream, "--json") == 0
    assert json.loads(terminal.out)["profile"] == "psnr"


def test_quality(terminal: Terminal, photo_file: Path) -> None:
    stream = photo_file.with_suffix(".zgt")
    assert terminal.run("compress", photo_file, "--quality", "10") == 0
    low = stream.stat().st_size
    assert terminal.run("compress", photo_file, "--quality", "80", "--force") == 0
    assert stream.stat().st_size > low


def test_the_smallest_that_is_good_enough(terminal: Terminal, photo_file: Path) -> None:
    stream = photo_file.with_suffix(".zgt")
    assert terminal.run("compress", photo_file, "--min-psnr", "24", "--min-ms-ssim", "0.8") == 0
    found = re.search(r"psnr (\d+\.\d+), ms-ssim (\d\.\d+)", terminal.err)
    assert found
    assert 24 <= float(found[1]) < 27  # to 8 bytes of a stream of 60
    assert float(found[2]) >= 0.8
    stream.unlink()
    short = ("compress", photo_file, "--min-psnr", "60", "--max-bytes", "700", "-o", stream)
    assert terminal.run(*short, "--strict") == 3
    assert not stream.exists()
    assert terminal.run(*short) == 3
    assert stream.stat().st_size <= 700
    assert "out of reach: the nearest has psnr" in terminal.err
    for wrong in (("--quality", "5"), ("--budget-bpp", "1")):
        assert terminal.run("compress", photo_file, "--min-psnr", "24", *wrong) == 2


@pytest.mark.parametrize("codec", ["hybrid", "auto"])
def test_other_codecs_on_the_way_there_and_back(
    terminal: Terminal, photo_file: Path, photo: Image.Image, codec: str
) -> None:
    stream = photo_file.with_suffix(".zgt")
    png = photo_file.with_name("back.png")
    assert terminal.run("compress", photo_file, "--bpp", "1", "--codec", codec) == 0
    assert 8 * stream.stat().st_size / (128 * 96) <= 1
    assert "hybrid" in terminal.err
    assert (codec == "auto") == ("by ms-ssim: learned 0." in terminal.err)
    assert terminal.run("info", stream, "--json") == 0
    assert json.loads(terminal.out)["codec"] in {"hybrid", "learned"}
    assert terminal.run("decompress", stream, "-o", png) == 0
    with Image.open(png) as decoded:
        error = np.asarray(decoded, dtype=float) - np.asarray(photo, dtype=float)
    assert 10 * np.log10(255**2 / np.mean(error**2)) > 24


def test_effort_makes_another_stream_within_the_same_budget(terminal: Terminal, photo_file: Path) -> None:
    quick = photo_file.with_name("quick.zgt")
    thorough = photo_file.with_name("thorough.zgt")
    assert terminal.run("compress", photo_file, "--bpp", "1", "-o", quick) == 0
    assert terminal.run("compress", photo_file, "--bpp", "1", "--effort", "2", "-o", thorough) == 0
    assert thorough.read_bytes() != quick.read_bytes()
    assert 8 * thorough.stat().st_size / (128 * 96) <= 1
    assert terminal.run("compress", photo_file, "--bpp", "1", "--effort", "10") == 2


def test_auto_needs_a_budget_and_one_budget_the_learned_codec(
    terminal: Terminal, photo_file: Path, tmp_path: Path
) -> None:
    assert terminal.run("compress", photo_file, "--quality", "50", "--codec", "auto") == 2
    assert terminal.run("compress", photo_file, "--bpp", "1", "--codec", "jpeg") == 2
    assert (
        terminal.run("compress", photo_file, "--budget-bpp", "1", "--codec", "hybrid", "-o", tmp_path / "out")
        == 2
    )
    assert not photo_file.with_suffix(".zgt").exists()


def test_a_budget_out_of_reach_is_said_and_is_no_failure(terminal: Terminal, photo_file: Path) -> None:
    assert terminal.run("compress", photo_file, "--bpp", "30") == 0
    assert "above the model's range" in terminal.err


@pytest.mark.parametrize("budget", [["--max-bytes", "30"], ["--bpp", "0.02"]])
def test_a_stream_over_its_budget_is_told_and_has_an_exit_code(
    terminal: Terminal, photo_file: Path, budget: list[str]
) -> None:
    stream = photo_file.with_suffix(".zgt")
    assert terminal.run("compress", photo_file, *budget, "--strict") == 3
    assert not stream.exists()
    assert terminal.run("compress", photo_file, *budget) == 3
    size = stream.stat().st_size
    assert f"{size} bytes, {size - 30} over the 30 asked for" in terminal.err


def test_a_folder_over_budget_is_told_again_by_the_next_run(
    terminal: Terminal, photo_file: Path, tmp_path: Path
) -> None:
    command = ("compress", photo_file.parent, "--max-bytes", "30", "-o", tmp_path / "out")
    assert terminal.run(*command) == 3
    assert "1 done, 1 over budget" in terminal.err
    assert terminal.run(*command) == 3
    assert "0 done, 1 done before, 1 over budget" in terminal.err


@pytest.mark.parametrize(
    "targets",
    [[], ["--bpp", "1", "--quality", "3"], ["--bpp", "0"], ["--quality", "101"], ["--max-bytes", "0"]],
)
def test_a_target_that_makes_no_sense_is_a_usage_error(
    terminal: Terminal, photo_file: Path, targets: list[str]
) -> None:
    assert terminal.run("compress", photo_file, *targets) == 2
    assert not photo_file.with_suffix(".zgt").exists()
    if len(targets) != 2:
        assert "--bpp, --max-bytes, --quality" in terminal.err


@pytest.fixture
def photograph(tmp_path: Path, photo: Image.Image) -> Path:
    """A photograph with EXIF, XMP, and the place where it was taken."""
    path = tmp_path / "photograph.jpg"
    photo.save(path, quality=95, exif=b"Exif\0\0" + samples.exif(), xmp=samples.XMP)
    return path


def test_what_was_left_out_is_said(terminal: Terminal, photograph: Path) -> None:
    assert terminal.run("compress", photograph, "--quality", "20") == 0
    assert "left out of the metadata: exif, xmp" in terminal.err
    assert terminal.run("compress", photograph, "--quality", "20", "--force", "--json") == 0
    facts = json.loads(terminal.out)
    assert (facts["dropped"], facts["metadata_bytes"]) == (["exif", "xmp"], None)


def test_metadata_is_kept_within_the_budget_and_comes_back(terminal: Terminal, photograph: Path) -> None:
    stream, back = photograph.with_suffix(".zgt"), photograph.with_name("back.jpg")
    asked = ("compress", photograph, "--max-bytes", "1200", "--metadata", "keep")
    assert terminal.run(*asked, "--json") == 0
    facts = json.loads(terminal.out)
    assert facts["dropped"] == ["gps", "maker-note", "thumbnail"]
    assert facts["metadata_bytes"] > 0
    assert facts["target_met"]
    assert stream.stat().st_size <= 1200
    assert terminal.run("decompress", stream, "-o", back) == 0
    with Image.open(back) as image:
        assert image.size == (96, 128)
        assert image.getexif()[ExifTags.Base.Make] == "Ziggurat"
        assert not image.getexif().get_ifd(ExifTags.IFD.GPSInfo)
        assert b"Tour" in image.info["xmp"]
    assert terminal.run("compress", photograph, "--quality", "9", "--metadata", "all") == 2


def test_a_stream_larger_than_its_source_is_remarked(
    terminal: Terminal, tmp_path: Path, photo: Image.Image
) -> None:
    small = tmp_path / "small.webp"
    photo.save(small, quality=1)
    assert terminal.run("compress", small, "--quality", "90") == 0
    assert "the stream is larger than the source: " in terminal.err
    assert terminal.run("compress", small, "--quality", "90", "-f", "--json", "--quiet") == 0
    assert json.loads(terminal.out)["larger_than_source"]
    assert terminal.err == ""
    assert terminal.run("compress", small, "--budget-bytes", "2000", "-o", tmp_path / "out", "--json") == 0
    assert json.loads(terminal.out)["larger_than_source"]
    assert "the stream is larger than the source: " in terminal.err
    assert terminal.run("compress", small, "--quality", "0", "-f", "--json") == 0
    assert not json.loads(terminal.out)["larger_than_source"]
    assert "larger" not in terminal.err
