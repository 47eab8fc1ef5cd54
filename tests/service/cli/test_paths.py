"""Files that commands find, refuse to replace, and write."""

from __future__ import annotations

import io
import json
import os
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
    written = sorted(str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.*"))
    records = [".ziggurat.jsonl", "day 2/.ziggurat.jsonl"]
    assert sorted(set(written) - set(records)) == ["a.zgt", "b.zgt", "day 2/c.zgt"]
    assert "3 done, 1 failed; 1 file of other kinds left alone" in terminal.err
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
    original.write_bytes(b"the original")
    assert terminal.run("decompress", stream_file, "-o", original) == 2
    assert original.read_bytes() == b"the original"
    original.write_bytes(b"")  # as mktemp leaves it
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


def test_pipes_are_read_and_written(stream_file: Path) -> None:
    """As a dash, and as a device whose link must stay; in one process, as torch takes its time."""
    program = (
        "import sys; from service.cli import main\n"
        "for arguments in (['-'], [sys.argv[1], '-o', '-'], [sys.argv[1], '-o', '/dev/stdout']):\n"
        "    try: main(['decompress', *arguments, '--format', 'png'])\n"
        "    except SystemExit as left: assert not left.code"
    )
    command = [sys.executable, "-c", program, str(stream_file)]
    piped = subprocess.run(command, input=stream_file.read_bytes(), capture_output=True, check=True).stdout
    once = piped[: len(piped) // 3]
    assert piped == 3 * once
    with Image.open(io.BytesIO(once)) as image:
        assert image.size == (128, 96)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["photo.jpg", "./-", "-o", "-"], "one result"),
        (["photo.jpg", "-o", "-", "--json"], "JSON"),
        (["./*.jpeg"], "matches nothing"),
        (["photo.jpg", "--force", "--no-overwrite"], "one or the other"),
        (["photo.jpg", "--jobs", "0"], "neither a number"),
        (["photo.jpg", "--jobs", "some"], "neither a number"),
    ],
    ids=" ".join,
)
def test_what_makes_no_sense_is_told_before_the_work(
    terminal: Terminal, photo_file: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], says: str
) -> None:
    monkeypatch.chdir(photo_file.parent)
    shutil.copy(photo_file, "./-")
    assert terminal.run("compress", *arguments, "--bpp", "1") == 2
    assert says in terminal.err
    assert not list(photo_file.parent.glob("*.zgt"))


def test_a_result_is_not_written_to_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    with pytest.raises(typer.BadParameter, match="terminal"):
        paths.check_stdout([paths.STDOUT], as_json=False)
    paths.check_stdout([Path("file")], as_json=True)


def test_patterns_that_no_shell_expanded_are_expanded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a.jpg", "b.jpg", "[c].jpg", "deep/er/d.jpg", "e.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)

    def found(pattern: str) -> list[str]:
        return sorted(map(str, paths.find([Path(pattern)], set()).files))

    assert found("[ab].jpg") == ["a.jpg", "b.jpg"]
    assert found("[c].jpg") == ["[c].jpg"]  # which is a file's name
    assert found("**/d.jpg") == ["deep/er/d.jpg"]
    with pytest.raises(typer.BadParameter, match="does not exist"):
        found("nowhere.jpg")


def test_no_overwrite_leaves_what_is_there_and_does_the_rest(
    terminal: Terminal, tmp_path: Path, photo_file: Path
) -> None:
    shutil.copy(photo_file, tmp_path / "other.jpg")
    (tmp_path / "photo.zgt").write_bytes(b"mine")
    command = ("compress", photo_file, tmp_path / "other.jpg", "--bpp", "1", "--no-overwrite")
    assert terminal.run(*command) == 0
    assert "photo.zgt  exists, and is left as it is" in terminal.err
    assert "1 done, 1 kept as they are" in terminal.err
    assert (tmp_path / "photo.zgt").read_bytes() == b"mine"
    assert (tmp_path / "other.zgt").is_file()
    assert terminal.run(*command, "--json", "--quiet") == 0
    assert {json.loads(line)["status"] for line in terminal.out.splitlines()} == {"kept"}
    assert terminal.err == ""


@pytest.mark.parametrize("command", ["compress", "compress-all", "decompress", "enhance"])
def test_a_dry_run_says_what_would_be_written_and_writes_nothing(
    terminal: Terminal, tmp_path: Path, photo: Image.Image, stream_file: Path, command: str
) -> None:
    photo.save(tmp_path / "photo.jpg", quality=20)
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    before = sorted(tmp_path.iterdir())
    budget = {"compress": ["--bpp", "1"], "compress-all": ["--budget-bpp", "1"]}.get(command, [])
    output = ["-o", tmp_path / "new"]
    assert terminal.run(command.removesuffix("-all"), tmp_path, *budget, *output, "--dry-run") in {0, 1}
    becomes = "zgt" if budget else "png"
    assert f" -> {tmp_path / 'new' / 'photo'}.{becomes}  128x96" in terminal.err
    assert "1 to do" in terminal.err
    assert ("broken.jpg: " in terminal.err) == (command != "decompress")
    assert ("1536 bytes" in terminal.err) == bool(budget)
    assert sorted(tmp_path.iterdir()) == before


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
        (tmp_path / name).write_bytes(b"ZGT")

    def targets(*, force: bool = False, replaceable: bool = False) -> dict[Path, Path]:
        found = paths.find([tmp_path], {".jpg"})
        return paths.targets(found, None, becomes=".zgt", force=force, replaceable=lambda _: replaceable)

    with pytest.raises(typer.BadParameter, match="--force"):
        targets()
    expected = {tmp_path / "a.jpg": tmp_path / "a.zgt"}
    assert targets(force=True) == targets(replaceable=True) == expected


def test_a_stream_that_is_named_is_replaced_and_nothing_else_is(terminal: Terminal, photo_file: Path) -> None:
    stream = photo_file.with_name("out.zgt")
    command = ("compress", photo_file, "--bpp", "1", "-o", stream)
    assert terminal.run(*command) == 0
    assert terminal.run(*command) == 0
    stream.write_bytes(b"my notes")
    assert terminal.run(*command) == 2
    assert stream.read_bytes() == b"my notes"


def link(kind: str, photo: Path) -> Path:
    """Another path to the photograph."""
    other = photo.with_name("other.zgt")
    match kind:
        case "itself":
            return photo
        case "hard link":
            other.hardlink_to(photo)
        case "symbolic link":
            other.symlink_to(photo)
        case "spelling":
            return photo.parent / ".." / photo.parent.name / photo.name
        case "folder":
            photo.parent.with_name("linked").symlink_to(photo.parent)
            return photo.parent.with_name("linked") / photo.name
    return other


@pytest.mark.parametrize("kind", ["itself", "hard link", "symbolic link", "spelling", "folder"])
@pytest.mark.parametrize(
    "command",
    [
        ("compress", "--bpp", "1"),
        ("enhance", "--format", "png"),
        ("decompress", "--format", "png"),
    ],
    ids=lambda command: command[0],
)
def test_a_source_is_never_replaced_not_even_by_force(
    terminal: Terminal, tmp_path: Path, photo_file: Path, command: tuple[str, ...], kind: str
) -> None:
    (tmp_path / "photos").mkdir()
    photo_file = photo_file.rename(tmp_path / "photos" / photo_file.name)
    before = photo_file.read_bytes()
    target = link(kind, photo_file)
    assert terminal.run(command[0], photo_file, *command[1:], "-o", target, "--force") == 2
    assert len(terminal.err.splitlines()) == 1
    assert "would replace" in terminal.err
    assert photo_file.read_bytes() == before


def test_a_source_is_not_replaced_by_anothers_result(terminal: Terminal, tmp_path: Path) -> None:
    """Beside a JPEG lies a WebP of its name, and WebP is asked for."""
    for name in ("a.jpg", "a.webp"):
        (tmp_path / name).write_bytes(b"a photograph")
    assert terminal.run("enhance", tmp_path, "--format", "webp", "--force") == 2
    assert terminal.run("enhance", tmp_path / "a.jpg", "-o", tmp_path / "a.webp", "--format", "webp") == 2
    assert (tmp_path / "a.webp").read_bytes() == b"a photograph"


def test_two_results_are_one_file_through_links_and_where_case_is_ignored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("one/a.jpg", "two/a.jpg", "three/b.jpg", "three/B.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.zgt").symlink_to(tmp_path / "out" / "b.zgt")
    with pytest.raises(typer.BadParameter, match="would both become"):
        paths.targets(
            paths.find([tmp_path / "one" / "a.jpg", tmp_path / "three" / "b.jpg"], set()),
            str(tmp_path / "out"),
            becomes=".zgt",
            force=True,
        )
    found = paths.find([tmp_path / "three"], {".jpg"})
    assert len(paths.targets(found, None, becomes=".zgt", force=False)) == 2
    # Such a file system cannot be had here.
    monkeypatch.setattr(paths, "_ignores_case", lambda folder: True)
    with pytest.raises(typer.BadParameter, match="would both become"):
        paths.targets(found, None, becomes=".zgt", force=True)


@pytest.mark.parametrize("output", ["new/", "new/deeper/"])
def test_an_output_with_a_slash_is_a_folder(
    terminal: Terminal, photo_file: Path, monkeypatch: pytest.MonkeyPatch, output: str
) -> None:
    monkeypatch.chdir(photo_file.parent)
    assert terminal.run("compress", photo_file, "--bpp", "1", "-o", output) == 0
    assert Path(output, "photo.zgt").is_file()


@pytest.mark.parametrize("output", ["", "file", "file/", "file/below/"])
def test_an_output_that_cannot_be_is_told_before_the_work(
    terminal: Terminal, photo_file: Path, monkeypatch: pytest.MonkeyPatch, output: str
) -> None:
    folder = photo_file.parent
    monkeypatch.chdir(folder)
    (folder / "file").write_bytes(b"not a folder")
    assert terminal.run("compress", folder, "--bpp", "1", "-o", output) in {1, 2}
    assert len(terminal.err.splitlines()) == 1
    assert output.split("/")[0] in terminal.err


def test_links_to_files_stay_links(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "file")
    paths.write(tmp_path / "link", b"content")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "file").read_bytes() == b"content"


def test_only_files_are_found_and_a_link_to_nowhere_is_told(tmp_path: Path) -> None:
    (tmp_path / "folder.jpg").mkdir()
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "nowhere.jpg").symlink_to(tmp_path / "gone")
    (tmp_path / "a.jpg").touch()
    (tmp_path / "a.txt").touch()
    found = paths.find([tmp_path], {".jpg"})
    assert [path.name for path in found.files] == ["a.jpg", "nowhere.jpg"]
    assert [path.name for path in found.others] == ["a.txt"]
