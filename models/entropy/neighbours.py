"""What symbols decoded so far say about the next ones [format]: in integers only, so that every machine draws the same conclusion.

Symbols are coded phase by phase, in the passes of `models.grid`, and residuals, in a phase, band of channels by band, from low frequencies
to high. What is decoded corrects what is expected of the rest:

    residuals        four decoded neighbours (from pass 2 on) that came out larger (smaller) than their tables expected raise (lower) the
                     table index; then the lower bands of the very place do (from band 2 on)
    hyper-latents    the four neighbours' mean chooses one of ten tables per channel

Everything here is written once for NumPy arrays (M, h, w), which define it, and for torch tensors (N, M, h, w), with which the encoder
predicts sizes on its device.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.entropy.tables import LAPLACE_TABLES, TOTAL, Counts
from models.grid import PASSES, Phase

Array = Any  # NumPy array or torch tensor of integers

DIAGONAL = ((-1, -1), (-1, 1), (1, -1), (1, 1))
BESIDE = ((-1, 0), (0, -1), (0, 1), (1, 0))
TAPS: dict[Phase, Sequence[tuple[int, int]]] = {(0, 0): (), (1, 1): DIAGONAL, (0, 1): BESIDE, (1, 0): BESIDE}
PHASES: tuple[Phase, ...] = tuple(phase for phases in PASSES for phase in phases)

LARGEST_MAGNITUDE = 15  # neighbours beyond surprise no more than this
UNIT = 16  # magnitudes are counted in sixteenths
WINDOW = 12  # channels on either side that count as alike: the channels follow the DCT's frequencies
OFFSETS = (5, 11, 48)  # added to observed and expected magnitudes: of the channel, its window and all channels
OCTAVE = 8  # steps of the logarithm per factor of two
LOGARITHMS = 1 << 15
LOWEST, BINS = -4, 10  # half octaves of surprise that are told apart
BAND_OFFSETS = (12, 24)  # likewise: of the band before, and of all lower bands
STRIP = 1 << 20  # elements corrected at a time: bounds memory
HYPER_REACH = 4  # the neighbours' mean, from its channel's centre, that is told apart
HYPER_CONTEXTS = 2 * HYPER_REACH + 2  # 0: no neighbours


@dataclass(frozen=True, slots=True, eq=False)
class Neighbours:
    """The integers of one model.

    Attributes:
        expected: magnitude to expect under every table, in sixteenths, int32 (64,).
        logarithms: OCTAVE * log2, rounded, int32 (LOGARITHMS,).
        shifts: change of the table index by pass (2 and 3) and surprise, int32 (2, BINS**3).
        band_starts: first channel of every band, rising from 0, int32 (B,).
        band_shifts: change of the table index by pass, band (from the second on) and surprise, int32 (3, B - 1, BINS**2).
    """

    expected: Array
    logarithms: Array
    shifts: Array
    band_starts: Array
    band_shifts: Array

    def surprise(self, indices: Array, residuals: Array, phase: Phase, top: int | None = None) -> Array:
        """Which of BINS**3 kinds of surprise the decoded neighbours of every element of the phase are: (..., M, h', w').

        In a strip of rows cut out of the whole, the phase's first row is `top`.
        """
        observed = _wide(abs(residuals)).clip(0, LARGEST_MAGNITUDE) * UNIT
        pairs = [(around(observed, phase, top), around(_look_up(self.expected, indices), phase, top))]
        pairs.append(tuple(_window(sums) for sums in pairs[0]))
        pairs.append(tuple(sums.sum(-3)[..., None, :, :] for sums in pairs[0]))
        return self._kind(pairs, OFFSETS)

    def corrected(self, indices: Array, residuals: Array, phase: Phase) -> Array:
        """Table indices of the phase's elements, from the scale decoder's of all (..., M, h, w) and the residuals of earlier phases."""
        number = _pass_of(phase)
        own = indices[..., phase[0] :: 2, phase[1] :: 2] + 0
        if number:
            for place, rows, top in _strips(own.shape, phase):
                part = own[..., place, :]
                kind = self.surprise(indices[..., rows, :], residuals[..., rows, :], phase, top)
                own[..., place, :] = _shifted(part, _look_up(self.shifts[number - 1], kind))
        return own

    def band(self, number: int) -> slice:
        """The channels of a band; the last has all that are left."""
        first, *after = (int(start) for start in self.band_starts[number : number + 2])
        return slice(first, after[0] if after else None)

    def bands(self, channels: int) -> Iterator[tuple[int, slice]]:
        """Number and channels of every band that begins within so many channels."""
        return ((number, self.band(number)) for number, start in enumerate(self.band_starts) if start < channels)

    def band_surprise(self, tables: Array, residuals: Array, band: int) -> Array:
        """Which of BINS**2 kinds of surprise the lower bands of every place of a phase are: (..., h', w').

        Args:
            tables: of the phase (..., M, h', w'), final in the lower bands.
            residuals: of the phase, likewise.
            band: from the second on.
        """
        before, start = self.band(band - 1).start, self.band(band).start
        observed = _wide(abs(residuals[..., :start, :, :])).clip(0, LARGEST_MAGNITUDE) * UNIT
        sums = observed, _look_up(self.expected, tables[..., :start, :, :])
        nearest, lower = (tuple(part[..., first:, :, :].sum(-3) for part in sums) for first in (before, 0))
        return self._kind([nearest, lower], BAND_OFFSETS)

    def correct_band(self, tables: Array, residuals: Array, phase: Phase, band: int) -> None:
        """Correct the band's part of the phase's tables (..., M, h', w'), in place, by what its lower bands came out as."""
        if not band:
            return
        shifts = self.band_shifts[_pass_of(phase), band - 1]
        for rows, _, _ in _strips(tables.shape, phase):
            kind = self.band_surprise(tables[..., rows, :], residuals[..., rows, :], band)
            place = (..., self.band(band), rows, slice(None))
            tables[place] = _shifted(tables[place], _look_up(shifts, kind)[..., None, :, :])

    def all_corrected(self, indices: Array, residuals: Array) -> Array:
        """Table indices of all elements (..., M, h, w) in the context of their neighbours and of lower bands."""
        corrected = indices + 0
        for row, column in PHASES:
            tables = self.corrected(indices, residuals, (row, column))
            for band, _ in self.bands(tables.shape[-3]):
                self.correct_band(tables, residuals[..., row::2, column::2], (row, column), band)
            corrected[..., row::2, column::2] = tables
        return corrected

    def _kind(self, pairs: Sequence[tuple[Array, ...]], offsets: Sequence[int]) -> Array:
        """One number for how much larger or smaller each of the magnitudes seen is than what was due."""
        kind = 0
        for (seen, due), offset in zip(pairs, offsets, strict=True):
            ratio = self._logarithm(seen + offset) - self._logarithm(due + offset)
            kind = kind * BINS + ((ratio + OCTAVE // 4) >> 2).clip(LOWEST, LOWEST + BINS - 1) - LOWEST
        return kind

    def _logarithm(self, value: Array) -> Array:
        return _look_up(self.logarithms, value.clip(1, LOGARITHMS - 1))

    @classmethod
    def make(
        cls,
        laplace: Sequence[Counts],
        shifts: NDArray[np.int32],
        band_starts: Sequence[int] = (0,),
        band_shifts: NDArray[np.int32] | None = None,
    ) -> Neighbours:
        """For these Laplace tables; without `band_shifts` all channels are one band, or lower bands say nothing."""
        expected = np.zeros(LAPLACE_TABLES, np.int32)
        for index, counts in enumerate(laplace[1:], 1):
            support = (len(counts) - 2) // 2
            magnitude = np.append(np.abs(np.arange(-support, support + 1)), support + 1).clip(0, LARGEST_MAGNITUDE)
            expected[index] = round(UNIT * float((magnitude * (counts / TOTAL)).sum()))
        logarithms = np.array([round(OCTAVE * math.log2(max(value, 1))) for value in range(LOGARITHMS)], np.int32)
        if band_shifts is None:
            band_shifts = np.zeros((len(PASSES), len(band_starts) - 1, BINS**2), np.int32)
        return cls(expected, logarithms, shifts.astype(np.int32), np.array(band_starts, np.int32), band_shifts.astype(np.int32))

    def mapped(self, to: Callable[[NDArray[np.int32]], Array]) -> Neighbours:
        """With other arrays, such as torch's, to look up in; the bands' bounds stay what loops run over."""
        looked_up = ("expected", "logarithms", "shifts", "band_shifts")
        return replace(self, **{name: to(getattr(self, name)) for name in looked_up})

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Arrays for the weights file; those of a single band are left out, as in models from before there were bands."""
        arrays = {
            "neighbours.expected": self.expected,
            "neighbours.logarithms": self.logarithms.astype(np.int16),
            "neighbours.shifts": self.shifts.astype(np.int8),
        }
        if len(self.band_starts) > 1:
            arrays["neighbours.band_starts"] = self.band_starts.astype(np.int16)
            arrays["neighbours.band_shifts"] = self.band_shifts.astype(np.int8)
        return arrays

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Neighbours:
        """The inverse of `to_arrays`."""
        one_band = {"neighbours.band_starts": np.zeros(1), "neighbours.band_shifts": np.zeros((len(PASSES), 0, BINS**2))}
        return cls(*((one_band | dict(arrays))[f"neighbours.{field.name}"].astype(np.int32) for field in fields(cls)))


def hyper_contexts(z: Array, centre: Array, phase: Phase) -> Array:
    """Which of its channel's HYPER_CONTEXTS tables codes every element of the phase of z (..., C, h, w): (..., C, h', w').

    Args:
        z: of which the phases before this one count.
        centre: of every channel, (C, 1, 1).
    """
    if not TAPS[phase]:
        return _wide(z[..., phase[0] :: 2, phase[1] :: 2]) * 0
    total = around(_wide(z) - centre, phase)
    count = around(_wide(z[..., :1, :, :]) * 0 + 1, phase)
    mean = (2 * total + count) // (2 * count.clip(1, len(BESIDE)))
    return (mean.clip(-HYPER_REACH, HYPER_REACH) + HYPER_REACH + 1) * (count > 0)


def around(values: Array, phase: Phase, top: int | None = None) -> Array:
    """Sum over the decoded neighbours of every element of the phase; beyond the border there is nothing. `top` as in `surprise`."""
    first_row, first_column = phase[0] if top is None else top, phase[1]
    total = values[..., first_row::2, first_column::2] * 0
    for row, column in TAPS[phase]:
        (to_row, from_row), (to_column, from_column) = _first(first_row + row), _first(first_column + column)
        part = values[..., from_row::2, from_column::2][..., : total.shape[-2] - to_row, : total.shape[-1] - to_column]
        total[..., to_row : to_row + part.shape[-2], to_column : to_column + part.shape[-1]] += part
    return total


def _first(start: int) -> tuple[int, int]:
    """First target and first source, for every second source from `start` on, which may be -1."""
    return (1, start + 2) if start < 0 else (0, start)


def _pass_of(phase: Phase) -> int:
    return next(number for number, phases in enumerate(PASSES) if phase in phases)


def _shifted(tables: Array, shift: Array) -> Array:
    """Table indices moved, those of symbols that are surely zero apart."""
    return (_wide(tables) + shift).clip(1, LAPLACE_TABLES - 1) * (tables > 0)


def _strips(shape: Sequence[int], phase: Phase) -> Iterator[tuple[slice, slice, int]]:
    """Rows of the phase, rows of the whole that they and their neighbours lie in, and where the first of the former is in the latter."""
    rows = shape[-2]
    height = max(1, STRIP * rows // max(1, math.prod(shape)))
    for start in range(0, rows, height):
        stop = min(start + height, rows)
        top = 2 * start + phase[0]
        first = max(0, top - 1)
        yield slice(start, stop), slice(first, 2 * (stop - 1) + phase[0] + 2), top - first


def _window(sums: Array) -> Array:
    """Sums over each channel's window (..., M, h, w)."""
    reach = min(WINDOW, sums.shape[-3] - 1)
    running = sums.cumsum(-3)
    window = running * 0
    window[..., : window.shape[-3] - reach, :, :] = running[..., reach:, :, :]
    window[..., window.shape[-3] - reach :, :, :] = running[..., -1:, :, :]
    window[..., reach + 1 :, :, :] -= running[..., : -reach - 1, :, :]
    return window


def _wide(values: Array) -> Array:
    return values.astype(np.int32) if isinstance(values, np.ndarray) else values.int()


def _look_up(table: Array, index: Array) -> Array:
    return np.take(table, index) if isinstance(index, np.ndarray) else table[index.long()]
