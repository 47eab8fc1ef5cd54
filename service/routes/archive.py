"""Zip archives whose names any system unpacks where it is told to, and nowhere else."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Mapping, Sequence

MEDIA_TYPE = "application/zip"

_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
# Names of devices on Windows, with any suffix.
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)", re.IGNORECASE)
_MAX_STEM = 100  # characters
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest of zip, so that equal files make equal archives


def safe_names(names: Sequence[str], suffix: str) -> list[str]:
    """Make file names with `suffix` of names that a client chose.

    They have no folders and are plain ASCII, and no two differ in case alone.
    """
    taken: set[str] = set()
    safe = []
    for name in names:
        stem = _stem(name)
        unique = stem
        number = 1
        while unique.lower() in taken:
            number += 1
            unique = f"{stem}-{number}"
        taken.add(unique.lower())
        safe.append(unique + suffix)
    return safe


def zipped(files: Mapping[str, bytes]) -> bytes:
    """Make a zip archive of files by name, in order; not compressed, because the files are."""
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
    stem = _UNSAFE.sub("_", stem)[:_MAX_STEM].strip("._-")
    return f"_{stem}" if _RESERVED.match(stem) else stem or "image"
