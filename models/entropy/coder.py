"""Symbols to bytes and back with constriction's range coder.

Symbols are coded phase by phase, and residuals, within a phase, band by band
(`models.entropy.context_model`). Within a band they are grouped by table, one coder call per table:
encoding a symbol takes 4-5 ns so, against 30-50 ns with per-symbol parameters, and a call half a
microsecond. Bands are cut into chunks because constriction holds the interpreter lock: none takes
longer than about 10 ms.

A residual r beyond its table's support K is coded as the table's last symbol, and behind its band
as 2 (|r| - K - 1) + (r < 0) in ESCAPE_BITS uniform bits.

Whoever writes another decoder must know that constriction does not code with the stored counts as
they are. It codes symbol i of n with the left cumulative ((C_i * (2**24 - n)) >> 24) + i, where C_i
is the sum of the stored counts before i.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeVar

import constriction
import numpy as np
from numpy.typing import NDArray

from models.entropy.context_model import (
    HYPER_CONTEXTS,
    PHASES,
    ContextModel,
    Known,
    coded_channels,
    hyper_contexts,
    known_before,
    magnitude_level,
)
from models.entropy.requantisation import Integers
from models.entropy.tables import ESCAPE_BITS, LAPLACE_TABLES, LARGEST_RESIDUAL, TOTAL, Counts, Tables
from models.errors import DamagedStreamError
from models.grid import Phase
from models.progress import UNINTERRUPTED, Progress

CHUNK_SYMBOLS = 1 << 17  # of one call: 1 ms to encode, 5 ms to decode, on one core of a busy machine

Model = Any  # one of constriction.stream.model's; the package has no types
RangeEncoder = Any  # constriction.stream.queue's
Symbols = NDArray[np.int32]
HyperLatents = NDArray[np.int8]
Residuals = NDArray[np.int16]
Indices = NDArray[np.uint8]
_Value = TypeVar("_Value", np.int16, np.int32)

_ESCAPES: Model = constriction.stream.model.Uniform(1 << ESCAPE_BITS)


class SymbolCoder:
    """Codes the hyper-latents z and the residuals r of one picture with the integers of one model.

    Args:
        tables: of z and of the residuals.
        context_model: chooses among the residuals' tables.
    """

    def __init__(self, tables: Tables, context_model: ContextModel) -> None:
        self._context_model = context_model
        self._laplace = [None, *(_model(counts) for counts in tables.laplace[1:])]
        self._z_counts = tables.z
        self._z_models: dict[int, Model] = {}  # by channel and context, as they are needed
        self._z_low = tables.z_low[:, None, None]
        self._z_centre = tables.z_centre[:, None, None]
        self._support = tables.support

    def encode_z(self, z: HyperLatents) -> bytes:
        """Code z (C, h, w), each channel within its table's range."""
        encoder = constriction.stream.queue.RangeEncoder()
        symbols = z - self._z_low
        for row, column in PHASES:
            groups = self._z_groups(z, (row, column))
            grouped = groups.gather(symbols[:, row::2, column::2])
            for key, group in groups.within(slice(0, groups.size)):
                encoder.encode(grouped[group], self._z_model(key))
        return _to_bytes(encoder.get_compressed())

    def decode_z(self, data: bytes, height: int, width: int) -> HyperLatents:
        """Undo `encode_z`: z (C, height, width). Raises `DamagedStreamError`."""
        decoder = _Decoder(data)
        z = np.zeros((len(self._z_counts), height, width), np.int8)
        for row, column in PHASES:
            groups = self._z_groups(z, (row, column))
            grouped = np.empty(groups.size, np.int32)
            for key, group in groups.within(slice(0, groups.size)):
                grouped[group] = decoder.symbols(self._z_model(key), group.stop - group.start)
            z[:, row::2, column::2] = groups.scatter(grouped) + self._z_low
        decoder.finish()
        return z

    def _z_groups(self, z: HyperLatents, phase: Phase) -> _Groups:
        """Group the elements of a phase by channel and context, counted from 1."""
        contexts: Integers = hyper_contexts(z, self._z_centre, phase)
        channels = HYPER_CONTEXTS * np.arange(len(z))[:, None, None] + 1
        return _Groups((contexts + channels).astype(np.uint16), HYPER_CONTEXTS * len(z) + 1)

    def _z_model(self, key: int) -> Model:
        """Give the table of a group of z."""
        if key not in self._z_models:
            channel, context = divmod(key - 1, HYPER_CONTEXTS)
            self._z_models[key] = _model(self._z_counts[channel][context])
        return self._z_models[key]

    def encode_residuals(
        self, residuals: Residuals, tables: Indices, progress: Progress = UNINTERRUPTED
    ) -> bytes:
        """Code residuals.

        Args:
            residuals: (M, h, w), magnitudes up to LARGEST_RESIDUAL; 0 where the table is 0.
            tables: of each, as the context model corrects those by the scale decoder (M, h, w).
            progress: pauses, and may end the work by raising.
        """
        encoder = constriction.stream.queue.RangeEncoder()
        for row, column in PHASES:
            for _, channels in self._context_model.bands():
                band = (channels, slice(row, None, 2), slice(column, None, 2))
                self._encode_band(encoder, residuals[band], tables[band], progress)
        return _to_bytes(encoder.get_compressed())

    def _encode_band(
        self, encoder: RangeEncoder, residuals: Residuals, tables: Indices, progress: Progress
    ) -> None:
        groups = _Groups(tables, LAPLACE_TABLES)
        grouped = groups.gather(residuals)
        escaped = [np.zeros(0, np.int32)]
        for window in _chunks(groups.size):
            progress.pause()
            support = groups.repeated(self._support, window)
            symbols: Symbols = grouped[window] + support
            beyond = np.flatnonzero((symbols < 0) | (symbols > 2 * support))
            if len(beyond):
                far = support[beyond]
                value = symbols[beyond] - far
                escaped.append(2 * (np.abs(value) - far - 1) + (value < 0))
                symbols[beyond] = 2 * far + 1
            for table, group in groups.within(window):
                encoder.encode(symbols[group], self._laplace[table])
        tail = np.concatenate(escaped)
        for window in _chunks(len(tail)):
            progress.pause()
            encoder.encode(tail[window], _ESCAPES)

    def decode_residuals(
        self, data: bytes, indices: Indices, progress: Progress = UNINTERRUPTED
    ) -> Residuals:
        """Undo `encode_residuals`. Raises `DamagedStreamError`.

        Args:
            data: what it made.
            indices: tables by the scale decoder (M, h, w).
            progress: pauses, and may end the work by raising.
        """
        decoder = _Decoder(data)
        channels = coded_channels(indices)
        decoded = np.zeros(indices.shape, np.int16)
        if channels:
            decoded[channels] = self._decode_channels(decoder, channels, indices[channels], progress)
        decoder.finish()
        return decoded

    def _decode_channels(
        self, decoder: _Decoder, channels: list[int], indices: Indices, progress: Progress
    ) -> Residuals:
        """Decode the residuals of these channels, the only ones that are not surely zero."""
        networks = self._context_model.of(channels)
        residuals = np.zeros(indices.shape, np.int16)
        levels = np.zeros(indices.shape, np.uint8)
        for row, column in PHASES:
            known: Known[Integers] = known_before(indices, levels, (row, column))
            phase = np.zeros(known.indices.shape, np.uint8)
            for band, own in networks.bands():
                tables = networks.tables(known, phase, band, progress)
                decoded = self._decode_band(decoder, tables, progress)
                residuals[own, row::2, column::2] = decoded
                phase[own] = magnitude_level(decoded)
            levels[:, row::2, column::2] = phase
        return residuals

    def _decode_band(self, decoder: _Decoder, tables: Indices, progress: Progress) -> Residuals:
        groups = _Groups(tables, LAPLACE_TABLES)
        grouped = np.empty(groups.size, np.int16)
        places = [np.zeros(0, np.intp)]  # of what escaped
        supports = [np.zeros(0, np.int32)]
        for window in _chunks(groups.size):
            progress.pause()
            symbols = np.empty(window.stop - window.start, np.int32)
            for table, group in groups.within(window):
                symbols[group] = decoder.symbols(self._laplace[table], group.stop - group.start)
            support = groups.repeated(self._support, window)
            symbols -= support
            grouped[window] = symbols
            beyond = np.flatnonzero(symbols > support)
            places.append(beyond + window.start)
            supports.append(support[beyond])
        far = np.concatenate(places)
        support = np.concatenate(supports)
        for window in _chunks(len(far)):
            progress.pause()
            code = decoder.symbols(_ESCAPES, window.stop - window.start)
            magnitude = (code >> 1) + support[window] + 1
            if magnitude.max() > LARGEST_RESIDUAL:
                raise DamagedStreamError("an escaped residual is out of range")
            grouped[far[window]] = np.where(code & 1, -magnitude, magnitude)
        return groups.scatter(grouped)


class _Decoder:
    """A range decoder that answers damage with `DamagedStreamError`."""

    def __init__(self, data: bytes) -> None:
        try:
            self._decoder = constriction.stream.queue.RangeDecoder(_to_words(data))
        except (ValueError, AssertionError) as error:
            raise DamagedStreamError("the entropy coder cannot start on these bytes") from error

    def symbols(self, model: Model, count: int) -> Symbols:
        """Decode the next `count` symbols of one model, at most CHUNK_SYMBOLS."""
        try:
            symbols: Symbols = self._decoder.decode(model, count)
        except (ValueError, AssertionError, KeyError) as error:
            raise DamagedStreamError("the entropy coder met an impossible state") from error
        return symbols

    def finish(self) -> None:
        """Check that nothing is left to decode."""
        if not self._decoder.maybe_exhausted():
            raise DamagedStreamError("symbols are left over behind the last one")


class _Groups:
    """Elements sorted by a key, in raster order within one; those of key 0 are left out.

    The order of many elements takes more memory than they do. So it is worked out a chunk at a
    time, when it is needed.

    Args:
        keys: of the elements, any shape, uint8 or uint16: NumPy sorts those by radix.
        count: of keys that there are.
    """

    def __init__(self, keys: NDArray[np.uint8 | np.uint16], count: int) -> None:
        self._shape = keys.shape
        self._flat = keys.ravel()
        self._sizes = np.zeros(count, np.intp)
        for chunk in _chunks(len(self._flat)):
            self._sizes += np.bincount(self._flat[chunk], minlength=count)
        self._sizes[0] = 0
        self._stops = np.cumsum(self._sizes)
        self.size = int(self._stops[-1])

    def within(self, window: slice) -> list[tuple[int, slice]]:
        """List each key that has elements in a window of the order, and where they are there."""
        sizes = self._sizes_within(window)
        keys = np.flatnonzero(sizes)
        stops = np.cumsum(sizes[keys])
        spans = map(slice, (stops - sizes[keys]).tolist(), stops.tolist())
        return list(zip(keys.tolist(), spans, strict=True))

    def repeated(self, values: NDArray[np.int32], window: slice) -> NDArray[np.int32]:
        """Give every element of a window of the order the value of its key."""
        return values.repeat(self._sizes_within(window))

    def _sizes_within(self, window: slice) -> NDArray[np.intp]:
        if window.stop - window.start == self.size:
            return self._sizes
        stops: NDArray[np.intp] = self._stops.clip(window.start, window.stop)
        return np.diff(stops, prepend=window.start)

    def gather(self, values: NDArray[_Value]) -> NDArray[_Value]:
        """Take the elements of `values` in order: (size,)."""
        flat = values.ravel()
        grouped = np.empty(self.size, flat.dtype)
        for source, place in self._moves():
            grouped[place] = flat[source]
        return grouped

    def scatter(self, grouped: NDArray[_Value]) -> NDArray[_Value]:
        """Undo `gather`, in the shape of the keys; zero where the key is."""
        flat = np.zeros(len(self._flat), grouped.dtype)
        for source, place in self._moves():
            flat[source] = grouped[place]
        return flat.reshape(self._shape)

    def _moves(self) -> Iterator[tuple[NDArray[np.intp], slice | NDArray[np.intp]]]:
        """Yield for each chunk where its elements are, and where in the order they belong."""
        reached = self._stops - self._sizes
        for chunk in _chunks(len(self._flat)):
            elements = np.flatnonzero(self._flat[chunk]) + chunk.start
            keys = self._flat[elements]
            elements = elements[np.argsort(keys, kind="stable")]
            if len(self._flat) <= CHUNK_SYMBOLS:
                yield elements, slice(None)
                continue
            sizes = np.bincount(keys, minlength=len(reached))
            yield elements, np.arange(len(keys)) + np.repeat(reached - (np.cumsum(sizes) - sizes), sizes)
            reached += sizes


def _model(counts: Counts) -> Model:
    # A quotient by a power of two is exact: the same model on every machine.
    return constriction.stream.model.Categorical(counts / TOTAL, perfect=False)


def _to_bytes(words: NDArray[np.uint32]) -> bytes:
    """Join words, little-endian, without the last one's leading zero bytes."""
    data = words.astype("<u4").tobytes()
    return data[: max(len(data) - 3, len(data.rstrip(b"\0")))]


def _to_words(data: bytes) -> NDArray[np.uint32]:
    """Undo `_to_bytes`."""
    return np.frombuffer(data + bytes(-len(data) % 4), "<u4").astype(np.uint32)


def _chunks(length: int) -> Iterator[slice]:
    return (slice(start, min(start + CHUNK_SYMBOLS, length)) for start in range(0, length, CHUNK_SYMBOLS))
