"""`ziggurat decompress`, `enhance` and `info`, run as a user runs them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from models.bitstream import Bitstream
from models.learned.codec import LearnedCodec
from tests.service.conftest import Terminal


@pytest.mark.parametrize("options", [["--profile", "psnr"], ["--codec", "hybrid"]])
def test_post_processing_is_asked_for(terminal: Terminal, photo_file: Path, options: list[str]) -> None:
    stream = photo_file.with_suffix(".zgt")
    assert terminal.run("compress", photo_file, "--quality", "20", *options) == 0
    shown = {}
    for mode in ("auto", "on", "off"):
        assert (
            terminal.run(
                "decompress", stream, "--postprocess", mode, "-o", photo_file.with_name(f"{mode}.png")
            )
            == 0
        )
        shown[mode] = photo_file.with_name(f"{mode}.png").read_bytes()
    assert shown["auto"] == shown["on"] != shown["off"]


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"", "not a Ziggurat stream"), (b"ZGT\x06 from the future", "version 6"), (b"ZGT\x03", "header")],
)
def test_a_bad_stream_is_one_line_and_writes_nothing(
    terminal: Terminal, tmp_path: Path, content: bytes, says: str
) -> None:
    path = tmp_path / "bad.zgt"
    path.write_bytes(content)
    for command in ("decompress", "info"):
        assert terminal.run(command, path) == 1
        assert says in terminal.err
        assert len(terminal.err.splitlines()) == 1
    assert [file.name for file in tmp_path.iterdir()] == ["bad.zgt"]


def test_a_stream_of_an_unknown_model_names_it(terminal: Terminal, stream_file: Path) -> None:
    parsed = Bitstream.parse(stream_file.read_bytes())
    foreign = {name: getattr(parsed, name) for name in Bitstream.__slots__} | {
        "model_id": bytes.fromhex("0badcafe")
    }
    stream_file.write_bytes(Bitstream(**foreign).to_bytes())
    assert terminal.run("decompress", stream_file) == 1
    assert "0badcafe" in terminal.err
    assert terminal.run("info", stream_file, "--json") == 0
    assert json.loads(terminal.out)["profile"] is None


def test_a_file_is_enhanced_and_what_has_nothing_to_gain_is_told(
    terminal: Terminal, tmp_path: Path, photo: Image.Image
) -> None:
    photo.save(tmp_path / "coarse.jpg", quality=20)
    photo.save(tmp_path / "fine.webp", lossless=True)
    assert terminal.run("enhance", tmp_path / "coarse.jpg") == 0
    assert "jpeg, coarseness 0.80" in terminal.err
    with Image.open(tmp_path / "coarse.png") as improved:
        assert improved.size == photo.size
    assert terminal.run("enhance", tmp_path, "-o", tmp_path / "out", "--format", "avif") == 1
    assert "fine.webp: the webp file's quantiser cannot be read: it is lossless" in terminal.err
    assert [path.name for path in (tmp_path / "out").glob("[!.]*")] == ["coarse.avif"]
    assert terminal.run("enhance", tmp_path / "coarse.jpg", "-o", tmp_path / "coarse.gif") == 2


def test_info_is_a_table_and_json(terminal: Terminal, stream_file: Path, codec: LearnedCodec) -> None:
    assert terminal.run("info", stream_file) == 0
    assert "128" in terminal.out
    assert codec.model_id in terminal.out
    assert terminal.run("info", stream_file, "--json") == 0
    facts = json.loads(terminal.out)
    assert (facts["width"], facts["height"], facts["model_id"], facts["profile"]) == (
        128,
        96,
        codec.model_id,
        codec.name,
    )
    assert facts["bytes"] == stream_file.stat().st_size


def test_several_files_at_a_time_come_out_as_one_by_one(
    terminal: Terminal, tmp_path: Path, photo: Image.Image
) -> None:
    folder = tmp_path / "album"
    folder.mkdir()
    for turn in range(4):
        photo.rotate(90 * turn, expand=True).save(folder / f"{turn}.jpg", quality=20)
    made = {}
    for jobs in ("1", "3"):
        streams, back, better = (tmp_path / f"{name} {jobs}" for name in ("streams", "back", "better"))
        assert terminal.run("compress", folder, "--bpp", "1", "-o", streams, "-j", jobs) == 0
        assert terminal.run("decompress", streams, "-o", back, "-j", jobs) == 0
        assert terminal.run("enhance", folder, "-o", better, "-j", jobs) == 0
        assert "4 done" in terminal.err
        made[jobs] = [
            path.read_bytes() for out in (streams, back, better) for path in sorted(out.glob("[!.]*"))
        ]
    assert len(made["1"]) == 12
    assert made["1"] == made["3"]


def test_json_tells_of_each_file(terminal: Terminal, photo: Image.Image, tmp_path: Path) -> None:
    coarse = tmp_path / "coarse.jpg"
    photo.save(coarse, quality=20)
    assert terminal.run("compress", coarse, "--bpp", "16", "--json", "-q") == 0
    facts = json.loads(terminal.out)
    stream = tmp_path / "coarse.zgt"
    assert facts["output"] == str(stream)
    assert (facts["bytes"], facts["source_bytes"]) == (stream.stat().st_size, coarse.stat().st_size)
    assert not facts["target_met"]  # as the budget is above the model's range
    assert not facts["over_budget"]
    assert terminal.err == ""
    assert terminal.run("decompress", stream, "--json", "-q") == 0
    facts = json.loads(terminal.out)
    back = tmp_path / "coarse.png"
    assert (facts["output"], facts["bytes"], facts["width"]) == (str(back), back.stat().st_size, 128)
    assert terminal.run("enhance", coarse, "--json", "-q", "-o", tmp_path / "better.webp") == 0
    facts = json.loads(terminal.out)
    assert (facts["format"], facts["source_format"], round(facts["coarseness"], 2)) == ("webp", "jpeg", 0.8)
    assert terminal.err == ""
