"""Symbols to bytes and back with constriction's range coder.

Residuals are grouped by table index, one coder call per table (4-5 ns a symbol to encode against 30-50 with per-symbol parameters), and
the calls are cut into chunks because constriction holds the interpreter lock: no call takes longer than about 10 ms.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import constriction
import numpy as np
from numpy.typing import NDArray

from models.entropy.tables import ESCAPE_BITS, LARGEST_RESIDUAL, TOTAL, Counts, Tables
from models.errors import DamagedStreamError

CHUNK = 1 << 18  # symbols a call; 1 ms to encode, 7 ms to decode
_ESCAPES = constriction.stream.model.Uniform(1 << ESCAPE_BITS)

Model = Any  # one of constriction.stream.model's; the package has no types
Symbols = NDArray[np.int32]
HyperLatents = NDArray[np.int8]
Residuals = NDArray[np.int16]
Indices = NDArray[np.uint8]


def _model(counts: Counts) -> Model:
    return constriction.stream.model.Categorical(
        counts / TOTAL, perfect=False
    )  # a quotient by a power of two is exact: the same model everywhere


def _to_bytes(words: NDArray[np.uint32]) -> bytes:
    """Little-endian, without the last word's leading zero bytes."""
    data = words.astype("<u4").tobytes()
    return data[: max(len(data) - 3, len(data.rstrip(b"\0")))]


def _to_words(data: bytes) -> NDArray[np.uint32]:
    return np.frombuffer(data + bytes(-len(data) % 4), "<u4").astype(np.uint32)


def _chunks(length: int) -> Iterator[slice]:
    return (slice(start, start + CHUNK) for start in range(0, length, CHUNK))


class _Decoder:
    """A range decoder that answers damage with our error and finishes only on an exhausted stream."""

    def __init__(self, data: bytes) -> None:
        try:
            self._decoder = constriction.stream.queue.RangeDecoder(_to_words(data))
        except (ValueError, AssertionError) as error:
            raise DamagedStreamError(f"the entropy coder refuses the section: {error}") from error

    def symbols(self, model: Model, count: int) -> Symbols:
        """The next `count` symbols."""
        try:
            parts = [self._decoder.decode(model, chunk.stop - chunk.start) for chunk in _clipped(count)]
        except (ValueError, AssertionError, KeyError) as error:
            raise DamagedStreamError("the entropy coder met an impossible state") from error
        return np.concatenate(parts) if parts else np.zeros(0, np.int32)

    def finish(self) -> None:
        if not self._decoder.maybe_exhausted():
            raise DamagedStreamError("symbols are left over behind the last one")


def _clipped(length: int) -> Iterator[slice]:
    return (slice(chunk.start, min(chunk.stop, length)) for chunk in _chunks(length))


class SymbolCoder:
    """Codes the hyper-latents z and the residuals r of one image with the tables of one model."""

    def __init__(self, tables: Tables) -> None:
        self._laplace = [None, *(_model(counts) for counts in tables.laplace[1:])]
        self._z = [_model(counts) for counts in tables.z]
        self._z_low = tables.z_low
        self._support = tables.support

    def encode_z(self, z: HyperLatents) -> bytes:
        """z (C, h, w), each channel within its table's range."""
        encoder = constriction.stream.queue.RangeEncoder()
        for model, low, plane in zip(self._z, self._z_low, z, strict=True):
            symbols = plane.ravel().astype(np.int32) - low
            for chunk in _chunks(len(symbols)):
                encoder.encode(symbols[chunk], model)
        return _to_bytes(encoder.get_compressed())

    def decode_z(self, data: bytes, height: int, width: int) -> HyperLatents:
        """The inverse of `encode_z`: (C, height, width)."""
        decoder = _Decoder(data)
        planes = [decoder.symbols(model, height * width) + low for model, low in zip(self._z, self._z_low, strict=True)]
        decoder.finish()
        return np.stack(planes).astype(np.int8).reshape(-1, height, width)

    def encode_residuals(self, residuals: Residuals, indices: Indices) -> bytes:
        """Residuals with |r| <= 32767 and their table indices, any equal shapes; where the index is 0 the residual must be 0."""
        encoder = constriction.stream.queue.RangeEncoder()
        order, starts = _grouped(indices)
        grouped = residuals.ravel()[order]
        escaped = [np.zeros(0, np.int32)]
        for index, start, stop in starts:
            support, values = int(self._support[index]), grouped[start:stop].astype(np.int32)
            beyond = np.abs(values) > support
            if beyond.any():
                far = values[beyond]
                escaped.append(2 * (np.abs(far) - support - 1) + (far < 0))
            symbols: Symbols = np.where(beyond, 2 * support + 1, values + support).astype(np.int32)
            for chunk in _chunks(len(symbols)):
                encoder.encode(symbols[chunk], self._laplace[index])
        tail = np.concatenate(escaped).astype(np.int32)
        for chunk in _chunks(len(tail)):
            encoder.encode(tail[chunk], _ESCAPES)
        return _to_bytes(encoder.get_compressed())

    def decode_residuals(self, data: bytes, indices: Indices) -> Residuals:
        """The inverse of `encode_residuals`, in the shape of `indices`."""
        decoder = _Decoder(data)
        order, starts = _grouped(indices)
        grouped = np.empty(len(order), np.int32)
        limits = np.empty(len(order), np.int32)
        for index, start, stop in starts:
            support = int(self._support[index])
            grouped[start:stop] = decoder.symbols(self._laplace[index], stop - start) - support
            limits[start:stop] = support
        far = np.flatnonzero(grouped > limits)
        code = decoder.symbols(_ESCAPES, len(far))
        decoder.finish()
        magnitude = (code >> 1) + limits[far] + 1
        if len(far) and magnitude.max() > LARGEST_RESIDUAL:
            raise DamagedStreamError("an escaped residual is out of range")
        grouped[far] = np.where(code & 1, -magnitude, magnitude)
        residuals = np.zeros(indices.size, np.int16)
        residuals[order] = grouped
        return residuals.reshape(indices.shape)


def _grouped(indices: Indices) -> tuple[NDArray[np.intp], list[tuple[int, int, int]]]:
    """Flat positions sorted by table index (raster order within one), zeros left out; and (index, start, stop) of each group."""
    flat = indices.ravel()
    coded = np.flatnonzero(flat)
    order = coded[np.argsort(flat[coded], kind="stable")]
    counts = np.bincount(flat, minlength=1)
    counts[0] = 0
    stops = np.cumsum(counts)
    groups = [(int(i), int(stops[i] - counts[i]), int(stops[i])) for i in np.flatnonzero(counts)]
    return order, groups
