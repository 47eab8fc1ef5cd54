"""Entropy coding in worker processes: symbols lie in shared memory, and streams travel.

A worker imports no torch. A slot of shared memory holds one batch of z, residuals and tables; on a
GPU it is registered with the driver, so that copies to and from it need no staging in between.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.shared_memory import SharedMemory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.bitstream import Bitstream
from models.learned.symbol_codec import SymbolCodec
from models.learned.symbols import Quantised, Symbols
from models.rate_control import Target
from models.rate_control.position import Position


@dataclass(frozen=True, slots=True)
class Layout:
    """The layout of a slot: shapes of z, of the residuals and of the tables, of a whole batch."""

    z: tuple[int, ...]
    residuals: tuple[int, ...]

    @property
    def bytes(self) -> int:
        """Size of a slot."""
        return int(np.prod(self.z) + 3 * np.prod(self.residuals))

    def views(self, buffer: Any) -> tuple[NDArray[np.int8], NDArray[np.int16], NDArray[np.uint8]]:
        """Lay z, residuals and tables over a slot; the residuals first, which need two bytes."""
        count = int(np.prod(self.residuals))
        residuals = np.frombuffer(buffer, np.int16, count).reshape(self.residuals)
        tables = np.frombuffer(buffer, np.uint8, count, 2 * count).reshape(self.residuals)
        z = np.frombuffer(buffer, np.int8, int(np.prod(self.z)), 3 * count).reshape(self.z)
        return z, residuals, tables


class Slot:
    """A batch's symbols in shared memory."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self._memory = SharedMemory(create=True, size=layout.bytes)
        self.name = self._memory.name
        self.z, self.residuals, self.tables = layout.views(self._memory.buf)

    def close(self) -> None:
        """Give the memory back."""
        del self.z, self.residuals, self.tables
        with suppress(BufferError):  # a tensor over it is still there
            self._memory.close()
        self._memory.unlink()


class Coders:
    """Worker processes that code the pictures of slots.

    Args:
        profile: of the codec.
        count: number of processes.
        width, height: of every picture.
        position: on the gain axis, of every picture.
    """

    def __init__(self, profile: str, count: int, width: int, height: int, position: Position) -> None:
        # One thread each: there are as many workers as cores.
        for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
            os.environ.setdefault(name, "1")
        self._pool = ProcessPoolExecutor(
            count, get_context("spawn"), _start, (profile, width, height, position.index)
        )

    def write(self, slot: Slot) -> list[Future[bytes]]:
        """Begin to code every picture of a slot."""
        return [self._pool.submit(_write, slot.name, slot.layout, row) for row in range(slot.layout.z[0])]

    def read(self, slot: Slot, streams: Sequence[bytes]) -> list[Future[None]]:
        """Begin to decode streams into a slot."""
        return [
            self._pool.submit(_read, slot.name, slot.layout, row, stream)
            for row, stream in enumerate(streams)
        ]

    def close(self) -> None:
        """End the workers."""
        self._pool.shutdown()


# In the workers


@dataclass(frozen=True, slots=True)
class _Work:
    codec: SymbolCodec
    width: int
    height: int
    position: Position


_work: _Work
_attached: dict[str, SharedMemory] = {}


def _start(profile: str, width: int, height: int, position: int) -> None:
    global _work
    _work = _Work(SymbolCodec.load(profile), width, height, Position(position))


def _views(name: str, layout: Layout) -> tuple[NDArray[np.int8], NDArray[np.int16], NDArray[np.uint8]]:
    if name not in _attached:
        _attached[name] = SharedMemory(name)
    return layout.views(_attached[name].buf)


def _write(name: str, layout: Layout, row: int) -> bytes:
    z, residuals, tables = (array[row] for array in _views(name, layout))
    symbols = Symbols(
        width=_work.width,
        height=_work.height,
        position=_work.position,
        greyscale=False,
        postprocess=True,
        z=z,
        residuals=residuals,
        alpha=None,
        coded=0,
    )
    target = Target(quality=_work.position.quality)
    return _work.codec.write(Quantised(symbols, tables, None, target, None, 0.0, 1, 0.0)).data


def _read(name: str, layout: Layout, row: int, stream: bytes) -> None:
    z, residuals, _ = _views(name, layout)
    found = _work.codec.read(Bitstream.parse(stream))
    z[row] = found.z
    residuals[row] = found.residuals
