"""Files that a command reads and writes.

Folders are searched, nothing is replaced unasked, and writes are atomic.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from pathlib import Path

import typer

from models.files import write_atomically


def files(sources: list[Path], suffixes: Collection[str]) -> dict[Path, Path]:
    """Find the files to work on; what is hidden is left alone.

    Args:
        sources: files, which are taken as they are, and folders, which are searched.
        suffixes: what a file in a folder must end in, such as ".jpg".

    Returns:
        Each file's path below the folder that was named; of a file that was named, its name.

    Raises:
        typer.BadParameter: there is none.
    """
    found: dict[Path, Path] = {}
    for source in sources:
        if source.is_dir():
            below = {file: file.relative_to(source) for file in sorted(source.rglob("*"))}
            found |= {
                file: path
                for file, path in below.items()
                if file.suffix.lower() in suffixes and not any(part.startswith(".") for part in path.parts)
            }
        else:
            found[source] = Path(source.name)
    if not found:
        raise typer.BadParameter(f"nothing to read in {', '.join(map(str, sources))}", param_hint="SOURCES")
    return found


def targets(
    sources: list[Path],
    output: Path | None,
    *,
    suffixes: Collection[str],
    becomes: str,
    force: bool,
    replaceable: Callable[[Path], bool] = lambda _: False,
) -> dict[Path, Path]:
    """Find the files to work on, and choose where each one's result goes.

    Args:
        sources: files, and folders that are searched.
        output: a file; or a folder, in which the sources' folders are kept; None, beside each
            source.
        suffixes: what a file in a folder must end in.
        becomes: suffix of the results.
        force: replace existing files that `output` does not name.
        replaceable: tells which existing files need no force.

    Raises:
        typer.BadParameter: nothing to do, two results of one name, or a file that must not be
            replaced.
    """
    found = files(sources, suffixes)
    if output is not None and len(found) == 1 and not output.is_dir() and not sources[0].is_dir():
        return dict.fromkeys(found, output)
    becoming = {
        file: (file if output is None else output / below).with_suffix(becomes)
        for file, below in found.items()
    }
    for target, count in Counter(becoming.values()).items():
        if count > 1:
            raise typer.BadParameter(f"{count} sources would become {target}", param_hint="SOURCES")
        if target.exists() and not force and not replaceable(target):
            raise typer.BadParameter(f"{target} exists; --force replaces it")
    return becoming


def write(target: Path, content: bytes) -> None:
    """Write a file atomically: no reader sees half of it, and a failure leaves what was there."""
    if target.exists() and not target.is_file():  # /dev/stdout, a named pipe
        target.write_bytes(content)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(target, content)
