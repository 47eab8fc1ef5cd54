"""Records: a run that was cut off goes on, and what has changed is done anew."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from service.cli.records import NAME, Records, recipe
from tests.service.conftest import Terminal


def test_a_result_is_finished_while_it_and_its_recipe_are_the_same(tmp_path: Path) -> None:
    target = tmp_path / "a.zgt"
    made = recipe(b"photograph", "compress", "1 bpp")
    Records().add(target, made, b"stream")
    assert not Records().is_ours(target), "it was not written yet"
    target.write_bytes(b"stream")
    assert Records().is_ours(target)
    assert Records().is_finished(target, made)
    assert not Records().is_finished(target, recipe(b"another", "compress", "1 bpp"))
    assert not Records().is_finished(target, recipe(b"photograph", "compress", "2 bpp"))
    assert not Records(keep=False).is_ours(target)
    target.write_bytes(b"altered")
    assert not Records().is_ours(target)


@pytest.mark.parametrize(
    "line", ["[]", "7", "{}", '{"name": 7', '{"name": "a.zgt", "of": "tomorrow"}', "\xff"]
)
def test_lines_that_were_cut_off_or_of_another_version_take_no_other_with_them(
    tmp_path: Path, line: str
) -> None:
    target = tmp_path / "a.zgt"
    target.write_bytes(b"stream")
    (tmp_path / NAME).write_bytes(line.encode("latin-1"))
    Records().add(target, "recipe", b"stream")
    assert Records().is_finished(target, "recipe")


def test_a_single_file_leaves_no_record(terminal: Terminal, photo_file: Path) -> None:
    assert terminal.run("compress", photo_file, "--bpp", "1") == 0
    assert not (photo_file.parent / NAME).exists()


PICTURES = 9  # of which one is done when the signal comes


@pytest.mark.parametrize("way", [signal.SIGINT, signal.SIGKILL])
def test_a_folder_that_was_interrupted_goes_on(
    terminal: Terminal, tmp_path: Path, photo: Image.Image, way: signal.Signals
) -> None:
    album, output = tmp_path / "album", tmp_path / "out"
    album.mkdir()
    for index in range(PICTURES):
        photo.rotate(index + 1).save(album / f"{index}.png")
    command = ["compress", str(album), "--bpp", "1", "--effort", "2", "-o", str(output)]
    # A shell has what it runs in the background ignore SIGINT, and this would inherit it.
    code = "import signal; signal.signal(2, signal.default_int_handler); from service.cli import main; main()"
    program = [sys.executable, "-c", code, *command]
    with subprocess.Popen(program, stderr=subprocess.PIPE, text=True) as running:
        assert running.stderr is not None
        assert "0.zgt" in running.stderr.readline()
        running.send_signal(way)
        told = running.stderr.read()
    assert running.returncode == (130 if way is signal.SIGINT else -way)
    assert way is not signal.SIGINT or "the same command goes on from here" in told
    written = {path: os.stat(path).st_mtime_ns for path in output.glob("*.zgt")}
    assert 1 <= len(written) < PICTURES

    photo.save(album / "0.png")  # another photograph by now
    assert terminal.run(*command) == 0
    assert f"{PICTURES + 1 - len(written)} done" in terminal.err
    assert len(list(output.glob("*.zgt"))) == PICTURES
    untouched = {path for path, time in written.items() if os.stat(path).st_mtime_ns == time}
    assert untouched == set(written) - {output / "0.zgt"}


def test_other_options_replace_what_is_ours_and_nothing_else(
    terminal: Terminal, tmp_path: Path, photo_file: Path
) -> None:
    album, output = tmp_path / "album", tmp_path / "out"
    album.mkdir()
    shutil.copy(photo_file, album)
    command = ("compress", album, "-o", output)
    assert terminal.run(*command, "--bpp", "1") == 0
    assert terminal.run(*command, "--bpp", "1") == 0
    assert "0 done, 1 done before" in terminal.err
    assert terminal.run(*command, "--bpp", "1", "--force") == 0
    assert "1 done" in terminal.err
    large = (output / "photo.zgt").stat().st_size
    assert terminal.run(*command, "--bpp", "0.5") == 0
    assert (output / "photo.zgt").stat().st_size < large
    (output / "photo.zgt").write_bytes(b"mine now")
    assert terminal.run(*command, "--bpp", "1") == 2
    assert (output / "photo.zgt").read_bytes() == b"mine now"


def test_decompressed_and_enhanced_folders_go_on_too(
    terminal: Terminal, tmp_path: Path, stream_file: Path, photo: Image.Image
) -> None:
    photo.save(tmp_path / "coarse.jpg", quality=20)
    for command in (["decompress", tmp_path], ["enhance", tmp_path, "--format", "webp"]):
        assert terminal.run(*command) == 0
        assert terminal.run(*command) == 0
        assert "0 done, 1 done before" in terminal.err
