"""Which files a command reads and which it writes: folders searched, nothing replaced unasked, writes all or nothing."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Collection
from pathlib import Path

import typer


def files(sources: list[Path], suffixes: Collection[str]) -> dict[Path, Path]:
    """Each file to work on, and its path below the folder (or beside the file) that was named. What is hidden is left alone."""
    found: dict[Path, Path] = {}
    for source in sources:
        if source.is_dir():
            below = {file: file.relative_to(source) for file in sorted(source.rglob("*")) if file.suffix.lower() in suffixes}
            found |= {file: path for file, path in below.items() if not any(part.startswith(".") for part in path.parts)}
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
    """Where each file goes: beside itself, or into `output` with its folders kept. Nothing is replaced that `output` does not name.

    `force` replaces it all the same; `replaceable` says which existing files need no force.
    """
    found = files(sources, suffixes)
    if output is not None and len(found) == 1 and not output.is_dir() and not sources[0].is_dir():
        return dict.fromkeys(found, output)
    becoming = {file: (file if output is None else output / below).with_suffix(becomes) for file, below in found.items()}
    for target, count in Counter(becoming.values()).items():
        if count > 1:
            raise typer.BadParameter(f"{count} sources would become {target}", param_hint="SOURCES")
        if target.exists() and not force and not replaceable(target):
            raise typer.BadParameter(f"{target} exists; --force replaces it")
    return becoming


def image_suffixes() -> set[str]:
    """Suffixes of the image formats we read, such as ".jpg"."""
    from PIL import Image

    from ..images import FORMATS

    return {suffix for suffix, format in Image.registered_extensions().items() if format in FORMATS}


def write(target: Path, content: bytes) -> None:
    """All or nothing: a reader never sees half a file, and a failure leaves what was there."""
    if target.exists() and not target.is_file():  # /dev/stdout, a named pipe
        target.write_bytes(content)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        part.write_bytes(content)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
