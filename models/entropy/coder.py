"""Symbols to bytes and back with constriction's range coder.

Symbols are coded phase by phase, and residuals, within a phase, band by band
(`models.entropy.context_model`). Within a band they are grouped by table, one coder call per table:
encoding a symbol takes 4-5 ns so, against 30-50 ns with per-symbol parameters. Calls are cut into
chunks because constriction holds the interpreter lock: none takes longer than about 10 ms.

A residual r beyond its table's support K is coded as the table's last symbol, and behind its band
as 2 (|r| - K - 1) + (r < 0) in ESCAPE_BITS uniform bits.

Whoever writes another decoder must know that constriction does not code with the stored counts as
they are. It codes symbol i of n with the left cumulative ((C_i * (2**24 - n)) >> 24) + i, where C_i
is the sum of the stored counts before i.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import constriction
import numpy as np
from numpy.typing import NDArray

from models.entropy.context_model import (
    HYPER_CONTEXTS,
    PHASES,
    ContextModel,
    Integers,
    Known,
    hyper_contexts,
    known_before,
)
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
        self._z_models: dict[tuple[int, int], Model] = {}  # by channel and context, as they are needed
        self._z_low = tables.z_low[:, None, None]
        self._z_centre = tables.z_centre[:, None, None]
        self._support = tables.support

    def encode_z(self, z: HyperLatents) -> bytes:
        """Code z (C, h, w), each channel within its table's range."""
        encoder = constriction.stream.queue.RangeEncoder()
        symbols = z - self._z_low
        for row, column in PHASES:
            flat = symbols[:, row::2, column::2].ravel()
            for model, members in self._z_groups(z, (row, column)):
                for chunk in _chunks(0, len(members)):
                    encoder.encode(flat[members[chunk]], model)
        return _to_bytes(encoder.get_compressed())

    def decode_z(self, data: bytes, height: int, width: int) -> HyperLatents:
        """Undo `encode_z`: z (C, height, width). Raises `DamagedStreamError`."""
        decoder = _Decoder(data)
        z = np.zeros((len(self._z_counts), height, width), np.int8)
        for row, column in PHASES:
            phase = z[:, row::2, column::2]
            symbols = np.zeros(phase.size, np.int32)
            for model, members in self._z_groups(z, (row, column)):
                symbols[members] = decoder.symbols(model, len(members))
            phase[:] = symbols.reshape(phase.shape) + self._z_low
        decoder.finish()
        return z

    def _z_groups(self, z: HyperLatents, phase: Phase) -> Iterator[tuple[Model, NDArray[np.intp]]]:
        """Yield the tables of a phase, and which elements of the flattened phase each codes."""
        contexts: Integers = hyper_contexts(z, self._z_centre, phase)
        keys = (contexts + HYPER_CONTEXTS * np.arange(len(z))[:, None, None]).ravel()
        if not len(keys):
            return
        order = np.argsort(keys, kind="stable")
        for members in np.split(order, np.flatnonzero(np.diff(keys[order])) + 1):
            channel, context = divmod(int(keys[members[0]]), HYPER_CONTEXTS)
            if (channel, context) not in self._z_models:
                self._z_models[channel, context] = _model(self._z_counts[channel][context])
            yield self._z_models[channel, context], members

    def encode_residuals(
        self, residuals: Residuals, indices: Indices, progress: Progress = UNINTERRUPTED
    ) -> bytes:
        """Code residuals.

        Args:
            residuals: (M, h, w), magnitudes up to LARGEST_RESIDUAL; 0 where the index is 0.
            indices: tables by the scale decoder (M, h, w).
            progress: pauses, and may end the work by raising.
        """
        encoder = constriction.stream.queue.RangeEncoder()
        for row, column in PHASES:
            known: Known[Integers] = known_before(indices, residuals, (row, column))
            phase = residuals[:, row::2, column::2]
            for band, channels in self._context_model.bands():
                tables = self._context_model.tables(known, phase, band, progress)
                self._encode_band(encoder, phase[channels], tables, progress)
        return _to_bytes(encoder.get_compressed())

    def _encode_band(
        self, encoder: RangeEncoder, residuals: Residuals, indices: Indices, progress: Progress
    ) -> None:
        groups = _Groups(indices)
        grouped = groups.gather(residuals)
        escaped = [np.zeros(0, np.int32)]
        for index, start, stop in groups.spans():
            support = int(self._support[index])
            for chunk in _chunks(start, stop):
                progress.pause()
                values = grouped[chunk].astype(np.int32)
                beyond = np.abs(values) > support
                if beyond.any():
                    far = values[beyond]
                    escaped.append(2 * (np.abs(far) - support - 1) + (far < 0))
                symbols: Symbols = np.where(beyond, 2 * support + 1, values + support).astype(np.int32)
                encoder.encode(symbols, self._laplace[index])
        tail = np.concatenate(escaped).astype(np.int32)
        for chunk in _chunks(0, len(tail)):
            encoder.encode(tail[chunk], _ESCAPES)

    def decode_residuals(
        self, data: bytes, indices: Indices, progress: Progress = UNINTERRUPTED
    ) -> Residuals:
        """Undo `encode_residuals`, in the shape of `indices`. Raises `DamagedStreamError`."""
        decoder = _Decoder(data)
        residuals = np.zeros(indices.shape, np.int16)
        for row, column in PHASES:
            known: Known[Integers] = known_before(indices, residuals, (row, column))
            phase = residuals[:, row::2, column::2]
            for band, channels in self._context_model.bands():
                tables = self._context_model.tables(known, phase, band, progress)
                phase[channels] = self._decode_band(decoder, tables, progress)
        decoder.finish()
        return residuals

    def _decode_band(self, decoder: _Decoder, indices: Indices, progress: Progress) -> Residuals:
        groups = _Groups(indices)
        grouped = np.empty(groups.size, np.int16)
        positions = [np.zeros(0, np.intp)]  # of what escaped
        supports = [np.zeros(0, np.int32)]
        for index, start, stop in groups.spans():
            support = int(self._support[index])
            for chunk in _chunks(start, stop):
                progress.pause()
                values = decoder.symbols(self._laplace[index], chunk.stop - chunk.start) - support
                grouped[chunk] = values
                beyond = np.flatnonzero(values > support)
                positions.append(beyond + chunk.start)
                supports.append(np.full(len(beyond), support, np.int32))
        far = np.concatenate(positions)
        code = decoder.symbols(_ESCAPES, len(far))
        magnitude = (code >> 1) + np.concatenate(supports) + 1
        if len(far) and magnitude.max() > LARGEST_RESIDUAL:
            raise DamagedStreamError("an escaped residual is out of range")
        grouped[far] = np.where(code & 1, -magnitude, magnitude)
        return groups.scatter(grouped)


class _Decoder:
    """A range decoder that answers damage with `DamagedStreamError`."""

    def __init__(self, data: bytes) -> None:
        try:
            self._decoder = constriction.stream.queue.RangeDecoder(_to_words(data))
        except (ValueError, AssertionError) as error:
            raise DamagedStreamError(f"the entropy coder refuses the section: {error}") from error

    def symbols(self, model: Model, count: int) -> Symbols:
        """Decode the next `count` symbols."""
        try:
            parts = [self._decoder.decode(model, chunk.stop - chunk.start) for chunk in _chunks(0, count)]
        except (ValueError, AssertionError, KeyError) as error:
            raise DamagedStreamError("the entropy coder met an impossible state") from error
        return np.concatenate(parts) if parts else np.zeros(0, np.int32)

    def finish(self) -> None:
        """Check that nothing is left to decode."""
        if not self._decoder.maybe_exhausted():
            raise DamagedStreamError("symbols are left over behind the last one")


class _Groups:
    """Elements sorted by table index, in raster order within one; those of index 0 are left out.

    The order is worked out a chunk at a time, whenever it is needed: that of a large picture takes
    more memory than its residuals.

    Args:
        indices: tables of the elements, any shape.
    """

    def __init__(self, indices: Indices) -> None:
        self._shape = indices.shape
        self._flat = indices.ravel()
        self._counts = np.zeros(LAPLACE_TABLES, np.intp)
        for chunk in _chunks(0, len(self._flat)):
            self._counts += np.bincount(self._flat[chunk], minlength=LAPLACE_TABLES)
        self._counts[0] = 0

    @property
    def size(self) -> int:
        """Number of elements that are coded."""
        return int(self._counts.sum())

    def spans(self) -> list[tuple[int, int, int]]:
        """List (index, start, stop) of each group that has elements."""
        stops = np.cumsum(self._counts)
        return [
            (int(i), int(stops[i] - self._counts[i]), int(stops[i])) for i in np.flatnonzero(self._counts)
        ]

    def gather(self, residuals: Residuals) -> Residuals:
        """Take the coded elements of `residuals` in order: (size,)."""
        flat = residuals.ravel()
        grouped = np.empty(self.size, np.int16)
        for source, place in self._moves():
            grouped[place] = flat[source]
        return grouped

    def scatter(self, grouped: Residuals) -> Residuals:
        """Undo `gather`, in the shape of the indices; zero where nothing was coded."""
        flat = np.zeros(len(self._flat), np.int16)
        for source, place in self._moves():
            flat[source] = grouped[place]
        return flat.reshape(self._shape)

    def _moves(self) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
        """Yield for each chunk where its coded elements are, and where in the order they belong."""
        reached = np.cumsum(self._counts) - self._counts
        for chunk in _chunks(0, len(self._flat)):
            indices = self._flat[chunk]
            coded = np.flatnonzero(indices)
            coded = coded[np.argsort(indices[coded], kind="stable")]
            counts = np.bincount(indices, minlength=LAPLACE_TABLES)
            counts[0] = 0
            place = np.arange(len(coded)) + np.repeat(reached - (np.cumsum(counts) - counts), counts)
            reached += counts
            yield coded + chunk.start, place


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


def _chunks(start: int, stop: int) -> Iterator[slice]:
    return (slice(begin, min(begin + CHUNK_SYMBOLS, stop)) for begin in range(start, stop, CHUNK_SYMBOLS))
