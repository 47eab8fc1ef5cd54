"""Files: written whole or not at all, and read a limited number of times."""

from __future__ import annotations

import io
import os
from pathlib import Path


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file that no reader ever sees half of. A failure leaves what was there.

    Raises:
        OSError: it cannot be written.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        draft.write_bytes(content)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


class LimitedReader(io.BytesIO):
    """A file in memory that may be read from so many times.

    Pillow walks the parts of a file in Python, a few bytes at a time. A hostile file of nothing but
    tiny parts would keep it for minutes.

    Args:
        content: the whole file.
        reads: calls of `read` after which it raises ValueError.
    """

    def __init__(self, content: bytes, reads: int) -> None:
        super().__init__(content)
        self.reads_left = reads

    def read(self, size: int | None = -1, /) -> bytes:
        """At most `size` bytes. Raises ValueError when it was called too often."""
        self.reads_left -= 1
        if self.reads_left < 0:
            raise ValueError("it has too many parts")
        return super().read(size)
