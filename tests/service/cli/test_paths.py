"""Files that commands find, refuse to replace, and write."""

from __future__ import annotations

import io
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from PIL import Image

from service.cli import paths
from tests.service.conftest import Terminal


def test_a_folder_keeps_its_structure_and_one_bad_file_stops_nothing(
    terminal: Terminal, tmp_path: Path, photo_file: Path
) -> None:
    album = tmp_path / "album"
    (album / "day 2").mkdir(parents=True)
    for name in ("a.jpg", "b.JPG", "day 2/c.jpg", ".hidden.jpg"):
        shutil.copy(photo_file, album / name)
    (album / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    (album / "notes.txt").write_text("no picture")
    assert terminal.run("compress", album, "--bpp", "1", "-o", tmp_path / "out") == 1
    written = sorted(
        str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*") if path.is_file()
    )
    assert written == ["a.zgt", "b.zgt", "day 2/c.zgt"]
    assert sum(line.startswith(f"{album / 'broken.png'}: ") for line in terminal.err.splitlines()) == 1

    assert terminal.run("decompress", tmp_path / "out", "--format", "webp") == 0
    assert (tmp_path / "out" / "day 2" / "c.webp").is_file()


def test_sources_that_would_become_one_file_are_refused(
    terminal: Terminal, photo_file: Path, photo: Image.Image
) -> None:
    photo.save(photo_file.with_suffix(".png"))
    assert terminal.run("compress", photo_file, photo_file.with_suffix(".png"), "--bpp", "1") == 2
    assert "photo.zgt" in terminal.err


def test_nothing_is_replaced_unasked(terminal: Terminal, stream_file: Path) -> None:
    original = stream_file.with_suffix(".png")
    original.write_bytes(b"the original")
    assert terminal.run("decompress", stream_file) == 2
    assert original.read_bytes() == b"the original"
    assert terminal.run("decompress", stream_file, "--force") == 0
    assert original.read_bytes() != b"the original"
    assert terminal.run("decompress", stream_file, "-o", original) == 0


def test_an_empty_folder_is_a_usage_error(terminal: Terminal, tmp_path: Path) -> None:
    assert terminal.run("compress", tmp_path, "--bpp", "1") == 2


def test_a_failed_write_leaves_what_was_there(terminal: Terminal, stream_file: Path) -> None:
    folder = stream_file.parent / "file"
    folder.write_bytes(b"not a folder")
    assert terminal.run("decompress", stream_file, "-o", folder / "photo.png") == 1
    assert folder.read_bytes() == b"not a folder"


def test_outputs_get_the_usual_permissions(terminal: Terminal, stream_file: Path, tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    assert terminal.run("decompress", stream_file) == 0
    mode = stat.S_IMODE((tmp_path / "plain").stat().st_mode)
    assert stat.S_IMODE(stream_file.with_suffix(".png").stat().st_mode) == mode


def test_a_pipe_is_written_through(stream_file: Path) -> None:
    command = [
        sys.executable,
        "-c",
        "from service.cli import main; main()",
        "decompress",
        str(stream_file),
        "--format",
        "png",
        "-o",
        "/dev/stdout",
    ]
    piped = subprocess.run(command, capture_output=True, check=True).stdout
    with Image.open(io.BytesIO(piped)) as image:
        assert image.size == (128, 96)


def test_a_write_that_is_cut_off_leaves_no_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "photo.zgt"
    target.write_bytes(b"before")

    def no_space(path: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", no_space)
    with pytest.raises(OSError, match="No space"):
        paths.write(target, b"after")
    assert target.read_bytes() == b"before"
    assert [file.name for file in tmp_path.iterdir()] == ["photo.zgt"]


def test_existing_files_need_force_unless_they_are_replaceable(tmp_path: Path) -> None:
    for name in ("a.jpg", "a.zgt"):
        (tmp_path / name).touch()

    def targets(*, force: bool = False, replaceable: bool = False) -> dict[Path, Path]:
        return paths.targets(
            [tmp_path],
            None,
            suffixes={".jpg"},
            becomes=".zgt",
            force=force,
            replaceable=lambda _: replaceable,
        )

    with pytest.raises(typer.BadParameter, match="--force"):
        targets()
    expected = {tmp_path / "a.jpg": tmp_path / "a.zgt"}
    assert targets(force=True) == targets(replaceable=True) == expected
