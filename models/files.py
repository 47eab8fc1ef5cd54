"""Files: written whole or not at all."""

from __future__ import annotations

from pathlib import Path


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that a reader sees the old content or the new, never half of it.

    The content is written beside the target, under the suffix ".partial", and then takes its place.
    """
    partial = path.with_suffix(".partial")
    partial.write_bytes(content)
    partial.replace(path)
