"""Content that arrives in chunks of any size, and is wanted as one."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

_PIECE = 2**20  # bytes; less is joined at once, as every chunk costs some 40 bytes beside its own


class Pieces:
    """Bytes in the order in which they came."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._last = bytearray()

    @property
    def beginning(self) -> bytes:
        """The first MiB or so."""
        return self._pieces[0] if self._pieces else bytes(self._last)

    def add(self, chunk: bytes) -> None:
        """Take the next bytes."""
        self._last += chunk
        if len(self._last) >= _PIECE:
            self._pieces.append(bytes(self._last))
            self._last.clear()

    def clear(self) -> None:
        """Let go of all."""
        self._pieces.clear()
        self._last.clear()

    @contextmanager
    def dropped_on_error(self) -> Iterator[None]:
        """Let go of all when the body of the `with` fails.

        An answered request goes on for a while, to read the rest of its body. The traceback of its
        error would hold what had come.
        """
        try:
            yield
        except BaseException:
            self.clear()
            raise

    async def joined(self) -> bytes:
        """Return all as one, and let go of the pieces. No length holds the event loop."""
        pieces = [*self._pieces, bytes(self._last)]
        self.clear()
        if len(pieces) == 1:
            return pieces[0]
        # join() lets go of the interpreter's lock for so much.
        return await asyncio.to_thread(b"".join, pieces)
