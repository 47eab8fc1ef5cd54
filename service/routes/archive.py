"""Several files as one: a zip archive whose names any system unpacks where it is told to, and nowhere else."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Mapping, Sequence

MEDIA_TYPE = "application/zip"

_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)", re.IGNORECASE)  # on Windows, with any suffix
_LONGEST = 100
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest that zip knows; the same files make the same archive


def safe_names(names: Sequence[str], suffix: str) -> list[str]:
    """File names with `suffix` after names that a client chose: without folders, plain ASCII, no two that differ in case alone."""
    taken: set[str] = set()
    safe = []
    for name in names:
        stem = _stem(name)
        unique, number = stem, 1
        while unique.lower() in taken:
            number += 1
            unique = f"{stem}-{number}"
        taken.add(unique.lower())
        safe.append(unique + suffix)
    return safe


def zipped(files: Mapping[str, bytes]) -> bytes:
    """A zip archive of files by name, in their order; not compressed, for what is in it is."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as archived:
        for name, content in files.items():
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.external_attr = 0o644 << 16
            archived.writestr(entry, content)
    return archive.getvalue()


def _stem(name: str) -> str:
    base = name.replace("\\", "/").rpartition("/")[2]
    stem = base.rpartition(".")[0] or base
    stem = _UNSAFE.sub("_", stem)[:_LONGEST].strip("._-")
    return f"_{stem}" if _RESERVED.match(stem) else stem or "image"
