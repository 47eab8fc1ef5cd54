"""The command line, run as a user runs it, with the real codec on small pictures."""

from __future__ import annotations

import contextlib
import io
import json
import re
import shutil
import stat
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models.bitstream import Bitstream
from models.codec import Codec
from models.learned.codec import LearnedCodec
from models.progress import Progress
from tests.service.conftest import Terminal


@pytest.fixture
def jpeg(tmp_path: Path, photo: Image.Image) -> Path:
    path = tmp_path / "photo.jpg"
    photo.save(path, quality=95)
    return path


@pytest.fixture
def stream(tmp_path: Path, photo: Image.Image, codec: LearnedCodec) -> Path:
    path = tmp_path / "photo.zgt"
    path.write_bytes(Codec(codec).compress(photo, bpp=1).data)
    return path


def test_effort_makes_another_stream_within_the_same_budget(terminal: Terminal, jpeg: Path) -> None:
    quick, thorough = jpeg.with_name("quick.zgt"), jpeg.with_name("thorough.zgt")
    assert terminal.run("compress", jpeg, "--bpp", "1", "-o", quick) == 0
    assert terminal.run("compress", jpeg, "--bpp", "1", "--effort", "2", "-o", thorough) == 0
    assert thorough.read_bytes() != quick.read_bytes()
    assert 8 * thorough.stat().st_size / (128 * 96) <= 1
    assert terminal.run("compress", jpeg, "--bpp", "1", "--effort", "10") == 2


def test_effort_that_takes_long_is_announced_once(terminal: Terminal) -> None:
    from service.cli.progress import each

    def work(source: Path, progress: Progress) -> None:
        of = 10 if source.name == "small" else 100_000
        for done in (0, 1, 2, of):
            time.sleep(0.005)
            assert progress.advance(done, of)

    with contextlib.redirect_stderr(io.StringIO()) as told:
        assert each([Path("small"), Path("large")], work, "Compressing")
    assert re.fullmatch(r"large: refining takes about \d+ min more\n", told.getvalue())


def test_a_photograph_goes_to_its_budget_and_comes_back(terminal: Terminal, jpeg: Path, photo: Image.Image) -> None:
    stream, png = jpeg.with_name("out.zgt"), jpeg.with_name("back.png")
    assert terminal.run("compress", jpeg, "--bpp", "1", "-o", stream) == 0
    assert 8 * stream.stat().st_size / (128 * 96) <= 1
    assert f"{stream.stat().st_size} bytes" in terminal.err
    assert terminal.out == ""
    assert terminal.run("decompress", stream, "-o", png) == 0
    with Image.open(png) as decoded:
        error = np.asarray(decoded, dtype=float) - np.asarray(photo, dtype=float)
    assert 10 * np.log10(255**2 / np.mean(error**2)) > 24


def test_max_bytes_and_profile(terminal: Terminal, jpeg: Path) -> None:
    assert terminal.run("compress", jpeg, "--max-bytes", "900", "--profile", "psnr") == 0
    stream = jpeg.with_suffix(".zgt")
    assert stream.stat().st_size <= 900
    assert terminal.run("info", stream, "--json") == 0
    assert json.loads(terminal.out)["profile"] == "psnr"


@pytest.mark.parametrize("codec", ["hybrid", "auto"])
def test_other_codecs_on_the_way_there_and_back(terminal: Terminal, jpeg: Path, photo: Image.Image, codec: str) -> None:
    stream, png = jpeg.with_suffix(".zgt"), jpeg.with_name("back.png")
    assert terminal.run("compress", jpeg, "--bpp", "1", "--codec", codec) == 0
    assert 8 * stream.stat().st_size / (128 * 96) <= 1
    assert "hybrid" in terminal.err
    assert (codec == "auto") == ("by ms-ssim: learned 0." in terminal.err)
    assert terminal.run("info", stream, "--json") == 0
    assert json.loads(terminal.out)["codec"] in {"hybrid", "learned"}
    assert terminal.run("decompress", stream, "-o", png) == 0
    with Image.open(png) as decoded:
        error = np.asarray(decoded, dtype=float) - np.asarray(photo, dtype=float)
    assert 10 * np.log10(255**2 / np.mean(error**2)) > 24


@pytest.mark.parametrize("options", [["--profile", "psnr"], ["--codec", "hybrid"]])
def test_post_processing_is_asked_for(terminal: Terminal, jpeg: Path, options: list[str]) -> None:
    stream = jpeg.with_suffix(".zgt")
    assert terminal.run("compress", jpeg, "--quality", "20", *options) == 0
    shown = {}
    for mode in ("auto", "on", "off"):
        assert terminal.run("decompress", stream, "--postprocess", mode, "-o", jpeg.with_name(f"{mode}.png")) == 0
        shown[mode] = jpeg.with_name(f"{mode}.png").read_bytes()
    assert shown["auto"] == shown["on"] != shown["off"]


def test_auto_needs_a_budget_and_one_budget_the_learned_codec(terminal: Terminal, jpeg: Path, tmp_path: Path) -> None:
    assert terminal.run("compress", jpeg, "--quality", "50", "--codec", "auto") == 2
    assert terminal.run("compress", jpeg, "--bpp", "1", "--codec", "jpeg") == 2
    assert terminal.run("compress", jpeg, "--budget-bpp", "1", "--codec", "hybrid", "-o", tmp_path / "out") == 2
    assert not jpeg.with_suffix(".zgt").exists()


def test_quality(terminal: Terminal, jpeg: Path) -> None:
    stream = jpeg.with_suffix(".zgt")
    assert terminal.run("compress", jpeg, "--quality", "10") == 0
    low = stream.stat().st_size
    assert terminal.run("compress", jpeg, "--quality", "80", "--force") == 0
    assert stream.stat().st_size > low


def test_a_budget_out_of_reach_is_said_and_is_no_failure(terminal: Terminal, jpeg: Path) -> None:
    assert terminal.run("compress", jpeg, "--max-bytes", "30") == 0
    assert "outside the model's range" in terminal.err


@pytest.mark.parametrize("targets", [[], ["--bpp", "1", "--quality", "3"], ["--bpp", "0"], ["--quality", "101"], ["--max-bytes", "0"]])
def test_a_target_that_makes_no_sense_is_a_usage_error(terminal: Terminal, jpeg: Path, targets: list[str]) -> None:
    assert terminal.run("compress", jpeg, *targets) == 2
    assert not jpeg.with_suffix(".zgt").exists()
    if len(targets) != 2:
        assert "--bpp, --max-bytes, --quality" in terminal.err


def test_a_folder_keeps_its_structure_and_one_bad_file_stops_nothing(terminal: Terminal, tmp_path: Path, jpeg: Path) -> None:
    album = tmp_path / "album"
    (album / "day 2").mkdir(parents=True)
    for name in ("a.jpg", "b.JPG", "day 2/c.jpg", ".hidden.jpg"):
        shutil.copy(jpeg, album / name)
    (album / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    (album / "notes.txt").write_text("no picture")
    assert terminal.run("compress", album, "--bpp", "1", "-o", tmp_path / "out") == 1
    written = sorted(str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*") if path.is_file())
    assert written == ["a.zgt", "b.zgt", "day 2/c.zgt"]
    assert sum(line.startswith(f"{album / 'broken.png'}: ") for line in terminal.err.splitlines()) == 1

    assert terminal.run("decompress", tmp_path / "out", "--format", "webp") == 0
    assert (tmp_path / "out" / "day 2" / "c.webp").is_file()


def test_sources_that_would_become_one_file_are_refused(terminal: Terminal, jpeg: Path, photo: Image.Image) -> None:
    photo.save(jpeg.with_suffix(".png"))
    assert terminal.run("compress", jpeg, jpeg.with_suffix(".png"), "--bpp", "1") == 2
    assert "photo.zgt" in terminal.err


def test_nothing_is_replaced_unasked(terminal: Terminal, stream: Path) -> None:
    original = stream.with_suffix(".png")
    original.write_bytes(b"the original")
    assert terminal.run("decompress", stream) == 2
    assert original.read_bytes() == b"the original"
    assert terminal.run("decompress", stream, "--force") == 0
    assert original.read_bytes() != b"the original"
    assert terminal.run("decompress", stream, "-o", original) == 0


def test_an_empty_folder_is_a_usage_error(terminal: Terminal, tmp_path: Path) -> None:
    assert terminal.run("compress", tmp_path, "--bpp", "1") == 2


@pytest.mark.parametrize(("option", "value"), [("--profile", "jpeg"), ("--device", "abacus"), ("--device", "cuda:99")])
def test_an_unknown_model_or_device_is_a_usage_error(terminal: Terminal, jpeg: Path, option: str, value: str) -> None:
    assert terminal.run("compress", jpeg, "--bpp", "1", option, value) == 2
    assert value in terminal.err


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"", "not a Ziggurat stream"), (b"ZGT\x04 from the future", "version 4"), (b"ZGT\x03", "header")],
)
def test_a_bad_stream_is_one_line_and_writes_nothing(terminal: Terminal, tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "bad.zgt"
    path.write_bytes(content)
    for command in ("decompress", "info"):
        assert terminal.run(command, path) == 1
        assert says in terminal.err
        assert len(terminal.err.splitlines()) == 1
    assert [file.name for file in tmp_path.iterdir()] == ["bad.zgt"]


def test_a_stream_of_an_unknown_model_names_it(terminal: Terminal, stream: Path) -> None:
    parsed = Bitstream.parse(stream.read_bytes())
    foreign = {name: getattr(parsed, name) for name in Bitstream.__slots__} | {"model_id": bytes.fromhex("0badcafe")}
    stream.write_bytes(Bitstream(**foreign).to_bytes())
    assert terminal.run("decompress", stream) == 1
    assert "0badcafe" in terminal.err
    assert terminal.run("info", stream, "--json") == 0
    assert json.loads(terminal.out)["profile"] is None


def test_a_failed_write_leaves_what_was_there(terminal: Terminal, stream: Path) -> None:
    folder = stream.parent / "file"
    folder.write_bytes(b"not a folder")
    assert terminal.run("decompress", stream, "-o", folder / "photo.png") == 1
    assert folder.read_bytes() == b"not a folder"


def test_outputs_get_the_usual_permissions(terminal: Terminal, stream: Path, tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    assert terminal.run("decompress", stream) == 0
    mode = stat.S_IMODE((tmp_path / "plain").stat().st_mode)
    assert stat.S_IMODE(stream.with_suffix(".png").stat().st_mode) == mode


def test_the_format_follows_the_name_or_the_option(terminal: Terminal, stream: Path) -> None:
    assert terminal.run("decompress", stream, "-o", stream.with_suffix(".JPG")) == 0
    with Image.open(stream.with_suffix(".JPG")) as image:
        assert image.format == "JPEG"
    assert terminal.run("decompress", stream, "-o", stream.with_suffix(".bmp")) == 2
    assert "bmp" in terminal.err


def test_a_pipe_is_written_through(stream: Path) -> None:
    command = [
        sys.executable,
        "-c",
        "from service.cli import main; main()",
        "decompress",
        str(stream),
        "--format",
        "png",
        "-o",
        "/dev/stdout",
    ]
    piped = subprocess.run(command, capture_output=True, check=True).stdout
    with Image.open(io.BytesIO(piped)) as image:
        assert image.size == (128, 96)


def test_info_is_a_table_and_json(terminal: Terminal, stream: Path, codec: LearnedCodec) -> None:
    assert terminal.run("info", stream) == 0
    assert "128" in terminal.out
    assert codec.model_id in terminal.out
    assert terminal.run("info", stream, "--json") == 0
    facts = json.loads(terminal.out)
    assert (facts["width"], facts["height"], facts["model_id"], facts["profile"]) == (128, 96, codec.model_id, codec.name)
    assert facts["bytes"] == stream.stat().st_size


def test_evaluate_prints_tables_and_writes_what_it_found(terminal: Terminal, jpeg: Path, tmp_path: Path) -> None:
    results = tmp_path / "results"
    assert terminal.run("evaluate", jpeg.parent, "--against", "jpeg", "--profile", "psnr", "-o", results) == 0
    assert "| ziggurat-psnr |" in terminal.out
    written = {path.suffix for path in results.iterdir()}
    assert {".json", ".md", ".png"} <= written


@pytest.mark.parametrize("options", [["--against", "betamax"], ["--profile", "psnr,betamax"]])
def test_evaluate_refuses_codecs_it_does_not_know(terminal: Terminal, jpeg: Path, options: list[str]) -> None:
    assert terminal.run("evaluate", jpeg.parent, *options) == 2
    assert "betamax" in terminal.err


def test_models_lists_both_profiles(terminal: Terminal) -> None:
    assert terminal.run("models") == 0
    assert "ms-ssim" in terminal.out
    assert "psnr" in terminal.out


def test_help_answers_without_loading_torch() -> None:
    program = "import sys; from service.cli import main\ntry: main(['--help'])\nexcept SystemExit: print('torch' in sys.modules)"
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert shown.splitlines()[-1] == "False"
    for command in ("compress", "decompress", "info", "evaluate", "serve", "models", "health"):
        assert f"  {command} " in shown


def test_serve_has_a_flag_for_every_setting(terminal: Terminal) -> None:
    from service.settings import Settings

    assert terminal.run("serve", "--help") == 0
    for name in Settings.model_fields:
        assert f"--{name.replace('_', '-')}" in terminal.out


@pytest.mark.parametrize("arguments", [["--port", "many"], ["--no-such-flag", "1"], ["--profile", "jpeg"]])
def test_serve_refuses_settings_that_make_no_sense(terminal: Terminal, arguments: list[str]) -> None:
    assert terminal.run("serve", *arguments) == 2


@pytest.mark.parametrize(("status", "code"), [(200, 0), (503, 1)])
def test_health_asks_readyz(terminal: Terminal, status: int, code: int) -> None:
    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/readyz" else 404)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        assert terminal.run("health", "--url", f"http://127.0.0.1:{server.server_port}/") == code
        thread.join()


def test_health_of_nobody(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZIGGURAT_PORT", "1")
    monkeypatch.setenv("ZIGGURAT_HOST", "0.0.0.0")
    assert terminal.run("health") == 1
    assert "http://127.0.0.1:1" in terminal.err


def test_a_file_is_enhanced_and_what_has_nothing_to_gain_is_told(terminal: Terminal, tmp_path: Path, photo: Image.Image) -> None:
    photo.save(tmp_path / "coarse.jpg", quality=20)
    photo.save(tmp_path / "fine.webp", lossless=True)
    assert terminal.run("enhance", tmp_path / "coarse.jpg") == 0
    assert "jpeg, coarseness 0.80" in terminal.err
    with Image.open(tmp_path / "coarse.png") as improved:
        assert improved.size == photo.size
    assert terminal.run("enhance", tmp_path, "-o", tmp_path / "out", "--format", "avif") == 1
    assert "fine.webp: the webp file's quantiser cannot be read: it is lossless" in terminal.err
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["coarse.avif"]
    assert terminal.run("enhance", tmp_path / "coarse.jpg", "-o", tmp_path / "coarse.gif") == 2
