"""`ziggurat compress --budget-bpp` and `--budget-bytes`, run as a user runs them."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image, ImageFilter

from models.bitstream import Bitstream
from models.learned.codec import LearnedCodec
from tests.models.metadata import samples
from tests.service.conftest import Terminal


@pytest.fixture
def album(tmp_path: Path, photo: Image.Image) -> Path:
    """Three pictures that are worth different numbers of bytes."""
    folder = tmp_path / "album"
    (folder / "day 2").mkdir(parents=True)
    photo.save(folder / "photo.png")
    photo.filter(ImageFilter.GaussianBlur(4)).save(folder / "blurred.png")
    photo.rotate(180).crop((0, 0, 90, 70)).save(folder / "day 2" / "part.png")
    return folder


def pixels(album: Path) -> int:
    return 2 * 128 * 96 + 90 * 70


def streams(output: Path) -> dict[str, bytes]:
    return {str(path.relative_to(output)): path.read_bytes() for path in output.rglob("*.zgt")}


def test_a_folder_goes_to_one_budget(
    terminal: Terminal, album: Path, tmp_path: Path, codec: LearnedCodec
) -> None:
    output = tmp_path / "out"
    assert terminal.run("compress", album, "--budget-bpp", "0.3", "-o", output) == 0
    made = streams(output)
    budget = int(0.3 * pixels(album) / 8)
    assert set(made) == {"photo.zgt", "blurred.zgt", "day 2/part.zgt"}
    assert 0.995 * budget - 8 <= sum(map(len, made.values())) <= budget
    assert f"of {budget} bytes" in terminal.err
    with (output / "allocation.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["stream"]: int(row["bytes"]) for row in rows} == {
        str(output / name): len(data) for name, data in made.items()
    }
    by_name = {Path(row["file"]).name: row for row in rows}
    assert float(by_name["blurred.png"]["bpp"]) < 0.3 < float(by_name["part.png"]["bpp"])
    assert all(0.8 < float(row["ms_ssim"]) < 1 and 20 < float(row["psnr"]) < 60 for row in rows)
    assert (output / "allocation.svg").read_text().count("<svg") == 1
    for data in made.values():
        codec.decode([data])


def test_a_run_that_was_cut_off_goes_on(terminal: Terminal, album: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    command = ("compress", album, "--budget-bytes", "900", "-o", output)
    assert terminal.run(*command) == 0
    made = streams(output)
    report = (output / "allocation.csv").read_text()
    untouched = (output / "blurred.zgt").stat().st_mtime_ns
    journal = output / "allocation.jsonl"
    journal.write_text(journal.read_text()[:-20])  # the last stream's line, torn
    (output / "photo.zgt").unlink()
    (output / "allocation.csv").unlink()

    assert terminal.run(*command) == 0

    assert streams(output) == made
    assert (output / "allocation.csv").read_text() == report
    assert (output / "blurred.zgt").stat().st_mtime_ns == untouched


def test_another_budget_measures_nothing_anew_and_replaces_what_is_ours(
    terminal: Terminal, album: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    assert terminal.run("compress", album, "--budget-bytes", "900", "-o", output) == 0
    assert (
        terminal.run(
            "compress", album, "--budget-bytes", "1200", "--metric", "psnr", "--effort", "1", "-o", output
        )
        == 0
    )
    assert 0.995 * 1200 - 8 <= sum(map(len, streams(output).values())) <= 1200
    assert (output / "allocation.jsonl").read_text().count('"measured"') == 3


def test_what_a_model_was_trained_for_is_what_one_budget_is_best_in(
    terminal: Terminal, album: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The metric is the model's and not guessed from its name: one may be called anything."""
    monkeypatch.setattr(LearnedCodec, "metric", property(lambda self: "psnr"))
    made = []
    for options in ([], ["--metric", "psnr"], ["--metric", "ms-ssim"]):
        assert terminal.run("compress", album, "--budget-bytes", "900", "-o", tmp_path / "out", *options) == 0
        made.append(streams(tmp_path / "out"))
    unset, psnr, ms_ssim = made
    assert unset == psnr != ms_ssim


def test_files_of_others_are_not_replaced_unasked(terminal: Terminal, album: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    output.mkdir()
    (output / "photo.zgt").write_bytes(b"mine")
    assert terminal.run("compress", album, "--budget-bytes", "900", "-o", output) == 2
    assert (output / "photo.zgt").read_bytes() == b"mine"
    assert terminal.run("compress", album, "--budget-bytes", "900", "-o", output, "--force") == 0
    assert (output / "photo.zgt").read_bytes() != b"mine"


@pytest.mark.parametrize(
    ("budget", "says", "code"),
    [("100", "over the 100 asked for", 3), ("100000", "above the model's range", 0)],
)
def test_a_budget_out_of_reach_is_said(
    terminal: Terminal, album: Path, tmp_path: Path, budget: str, says: str, code: int
) -> None:
    assert terminal.run("compress", album, "--budget-bytes", budget, "-o", tmp_path / "out") == code
    assert says in terminal.err
    strict = tmp_path / "strict"
    assert terminal.run("compress", album, "--budget-bytes", budget, "-o", strict, "--strict") == code
    assert says in terminal.err
    assert bool(streams(strict)) == (code == 0)


def test_one_bad_file_stops_nothing(terminal: Terminal, album: Path, tmp_path: Path) -> None:
    (album / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    assert terminal.run("compress", album, "--budget-bytes", "900", "-o", tmp_path / "out") == 1
    assert f"{album / 'broken.png'}: " in terminal.err
    assert 0.995 * 900 - 8 <= sum(map(len, streams(tmp_path / "out").values())) <= 900


def test_only_bad_files_are_a_failure(terminal: Terminal, tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"no picture")
    assert (
        terminal.run("compress", tmp_path / "broken.png", "--budget-bytes", "900", "-o", tmp_path / "out")
        == 1
    )


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--budget-bpp", "0.3"], "--output"),
        (["--budget-bpp", "0.3", "--bpp", "0.3", "-o", "out"], "exactly one"),
        (["--budget-bpp", "0.3", "--metric", "vmaf", "-o", "out"], "vmaf"),
        (["--bpp", "0.3", "--metric", "psnr"], "--metric"),
        (["--budget-bpp", "0", "-o", "out"], "bpp must be"),
        (["--budget-bytes", "0", "-o", "out"], "max_bytes must be"),
    ],
)
def test_options_that_make_no_sense_are_usage_errors(
    terminal: Terminal,
    album: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: list[str],
    says: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert terminal.run("compress", album, *options) == 2
    assert says in terminal.err
    assert not list(tmp_path.rglob("*.zgt"))


def test_metadata_is_part_of_the_one_budget(terminal: Terminal, photo: Image.Image, tmp_path: Path) -> None:
    album, output = tmp_path / "album", tmp_path / "out"
    album.mkdir()
    small = photo.resize((64, 48))
    small.save(album / "a.png", exif=samples.exif(orientation=1))
    small.rotate(180).save(album / "b.png")
    asked = ("compress", album, "--budget-bytes", "500", "-o", output)
    assert terminal.run(*asked, "--json") == 0
    dropped = {
        Path(fact["file"]).name: fact["dropped"] for fact in map(json.loads, terminal.out.splitlines())
    }
    assert dropped == {"a.png": ["exif"], "b.png": []}
    plain = streams(output)

    assert terminal.run(*asked, "--metadata", "keep") == 0
    made = streams(output)
    assert "a.png: left out of the metadata: gps, maker-note, thumbnail" in terminal.err
    assert 450 < sum(map(len, made.values())) <= 500
    parsed = Bitstream.parse(made["a.zgt"])
    assert parsed.metadata is not None
    assert replace(parsed, metadata=None).size < len(plain["a.zgt"])
