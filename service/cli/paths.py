"""Files that a command reads and writes.

Folders are searched and patterns expanded, "-" is stdin and stdout, no source and nothing else is
replaced unasked, and writes are atomic.
"""

from __future__ import annotations

import glob
import os
import sys
import unicodedata
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import typer

from models.files import write_atomically

STREAM_BEGINS = b"ZGT"  # models.bitstream.MAGIC, which takes longer to import
STDIN = Path("<stdin>")
STDOUT = Path("<stdout>")


@dataclass(frozen=True, slots=True)
class Found:
    """The files to work on, and what lies beside them.

    Attributes:
        files: each file's path below the folder that was named; of a file that was named, its name.
        others: files of other kinds in the folders.
        unreadable: folders that could not be searched, and why.
        is_folder: a folder was named, or several files: there is something to sum up.
    """

    files: dict[Path, Path]
    others: list[Path] = field(default_factory=list)
    unreadable: list[OSError] = field(default_factory=list)
    is_folder: bool = False


def source(argument: object) -> Path:
    """Read a source on the command line: "-" is stdin, and "./-" a file of that name."""
    return STDIN if argument == "-" else Path(str(argument))


def find(
    sources: list[Path], suffixes: Collection[str], *, made: Callable[[Path], bool] = lambda _: False
) -> Found:
    """Find the files to work on; what is hidden is left alone.

    Args:
        sources: files, which are taken as they are; folders, which are searched; stdin; and
            patterns such as "*.jpg" that no shell has expanded.
        suffixes: what a file in a folder must end in, such as ".jpg".
        made: tells which files in folders are results of earlier runs, and no sources.

    Raises:
        typer.BadParameter: there is none, or a source is not there.
    """
    sources = [there for source in sources for there in _expanded(source)]
    files: dict[Path, Path] = {}
    others: list[Path] = []
    unreadable: list[OSError] = []
    for source in sources:
        if not source.is_dir():
            files[source] = Path("stdin") if source == STDIN else Path(source.name)
            continue
        for file in sorted(_files_below(source, unreadable)):
            if file.suffix.lower() not in suffixes:
                others.append(file)
            elif not made(file):
                files[file] = file.relative_to(source)
    if not files:
        faults = "".join(f"; {error.filename}: {error.strerror}" for error in unreadable)
        skipped = f" ({len(others)} files of other kinds)" if others else ""
        raise typer.BadParameter(
            f"nothing to read in {', '.join(map(str, sources))}{skipped}{faults}", param_hint="SOURCES"
        )
    is_folder = len(files) > 1 or any(source.is_dir() for source in sources)
    return Found(files, others, unreadable, is_folder)


def targets(
    found: Found,
    output: str | None,
    *,
    becomes: str,
    force: bool,
    kept: bool = False,
    replaceable: Callable[[Path], bool] = lambda _: False,
) -> dict[Path, Path]:
    """Choose where each file's result goes; folders for them are made when they are written.

    Args:
        found: the sources.
        output: a file; or a folder, in which the sources' folders are kept: one that exists, ends
            in "/" or is for several sources; "-", stdout; None, beside each source, and stdout for
            stdin.
        becomes: suffix of the results.
        force: replace existing files.
        kept: existing files are no error; the caller leaves them as they are.
        replaceable: tells which existing files need no force; besides them it is an empty file, a
            pipe, and a stream that `output` names and a stream replaces.

    Raises:
        typer.BadParameter: two results of one name or for stdout, or a file that must not be
            replaced: with `force` too when it is a source.
        OSError: a folder is none, or cannot be written to.
    """
    if output == "":
        raise typer.BadParameter("is empty", param_hint="--output")
    if output == "-":
        if found.is_folder:
            raise typer.BadParameter("stdout takes one result", param_hint="--output")
        return dict.fromkeys(found.files, STDOUT)
    named = None if output is None else Path(output)
    is_folder = output is not None and (output.endswith(os.sep) or Path(output).is_dir() or found.is_folder)
    if named is not None and not is_folder:
        chosen = dict.fromkeys(found.files, named)
    else:
        chosen = {
            file: (file if named is None else named / below).with_suffix(becomes)
            for file, below in found.files.items()
        }
        if named is None and STDIN in chosen:
            chosen[STDIN] = STDOUT
    if named is not None and is_folder and named.exists() and not named.is_dir():
        raise typer.BadParameter(f"{named} is a file, and a folder is needed", param_hint="--output")
    _check_names(chosen)
    sources: dict[object, Path] = {_identity(source) or source: source for source in found.files}
    for source, target in chosen.items():
        replaced = sources.get(_identity(target) or ())
        if replaced is not None:
            what = "itself" if replaced == source else str(replaced)
            raise typer.BadParameter(f"{target}: {source} would replace {what}", param_hint="--output")
        if force or kept or not target.exists() or replaceable(target):
            continue
        begins = _beginning(target)
        if begins and not (target == named and becomes == ".zgt" and begins == STREAM_BEGINS):
            hint = "--force replaces it, --no-overwrite leaves it"
            raise typer.BadParameter(f"{target} exists; {hint}", param_hint="--output")
    for folder in {target.parent for target in chosen.values() if target != STDOUT}:
        _check_folder(folder)
    return chosen


def check_extra(target: Path, sources: Iterable[Path], *, option: str, force: bool) -> None:
    """Refuse a file that is written besides the results of `targets`.

    Raises:
        typer.BadParameter: it is a source, or exists and is not to be replaced.
        OSError: its folder is none, or cannot be written to.
    """
    identity = _identity(target)
    if identity is not None and identity in map(_identity, sources):
        raise typer.BadParameter(f"{target} is a source", param_hint=option)
    if not force and _beginning(target):
        raise typer.BadParameter(f"{target} exists; --force replaces it", param_hint=option)
    _check_folder(target.parent)


def check_stdout(targets: Iterable[Path], *, as_json: bool) -> None:
    """Raise typer.BadParameter when a result would go to a terminal, or among lines of JSON."""
    if STDOUT not in targets:
        return
    if as_json:
        raise typer.BadParameter("stdout cannot take JSON and the result; give -o a file")
    if sys.stdout.isatty():
        raise typer.BadParameter(
            "a terminal cannot show the result; give -o a file, or a pipe or > for stdout",
            param_hint="--output",
        )


def read(source: Path) -> bytes:
    """Read a file, or stdin to its end."""
    return sys.stdin.buffer.read() if source == STDIN else source.read_bytes()


def write(target: Path, content: bytes) -> None:
    """Write a file atomically: no reader sees half of it, and a failure leaves what was there.

    A link stays one, and the file behind it is written.
    """
    if target == STDOUT:
        sys.stdout.flush()
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()
        return
    if target.exists() and (not target.is_file() or target.is_relative_to("/dev")):
        target.write_bytes(content)  # a pipe; /dev/stdout, a link that must stay
        return
    if target.is_symlink():
        target = target.resolve()
    target.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(target, content)


def _expanded(source: Path) -> list[Path]:
    """The source; or, when it is a pattern that no file is called like, all that it matches.

    Raises:
        typer.BadParameter: there is nothing.
    """
    if source == STDIN or source.exists():
        return [source]
    if not glob.has_magic(str(source)):
        raise typer.BadParameter(f"{source} does not exist", param_hint="SOURCES")
    matches = [Path(match) for match in sorted(glob.glob(str(source), recursive=True))]
    if not matches:
        raise typer.BadParameter(f"{source} matches nothing", param_hint="SOURCES")
    return matches


def _files_below(folder: Path, unreadable: list[OSError]) -> Iterable[Path]:
    """Files in a folder, all the way down but not through links to folders; no hidden ones."""
    for parent, folders, names in os.walk(folder, onerror=unreadable.append):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            file = Path(parent, name)
            # A link that leads nowhere is found, so that reading it says so; a pipe would wait.
            if not name.startswith(".") and (file.is_file() or not file.exists()):
                yield file


def _check_folder(folder: Path) -> None:
    """Raise OSError when there can be no files in a folder, which may not be there yet."""
    there = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    if not there.is_dir():
        raise NotADirectoryError(f"{there} is a file, and a folder is needed")
    if not os.access(there, os.W_OK | os.X_OK):
        raise PermissionError(f"{there} cannot be written to")


def _check_names(chosen: dict[Path, Path]) -> None:
    """Raise typer.BadParameter when two results would be one file."""
    becoming: dict[Path, Path] = {}
    for source, target in chosen.items():
        other = becoming.setdefault(_place(target), source)
        if other != source:
            raise typer.BadParameter(f"{other} and {source} would both become {target}", param_hint="SOURCES")


def _identity(path: Path) -> tuple[int, int] | None:
    """Get what all paths to one file share, through links and in any spelling; None of no file."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _place(path: Path) -> Path:
    """Where a file is written, there or not yet: without links, and in one spelling where a.jpg is
    A.JPG.
    """
    path = path.resolve()
    if not _ignores_case(path.parent):
        return path
    return path.with_name(unicodedata.normalize("NFC", path.name).casefold())


@cache
def _ignores_case(folder: Path) -> bool:
    """Tell whether the file system of a folder, there or not, takes a name in the other case."""
    for place in (folder, *folder.parents):
        other = place.with_name(place.name.swapcase()) if place.name else place
        if other != place and place.exists():
            return other.exists() and other.samefile(place)
    return False


def _beginning(path: Path) -> bytes:
    """A file's first bytes; none of what is no file, such as a pipe."""
    if not path.is_file():
        return b"" if not path.is_dir() else b"/"
    with path.open("rb") as file:
        return file.read(len(STREAM_BEGINS))
