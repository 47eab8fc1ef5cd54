"""What symbols decoded so far say about the next ones [format]: in integers only, so that every machine draws the same conclusion.

Symbols are coded phase by phase, in the passes of `models.grid`, and residuals, in a phase, band of channels by band, from low frequencies
to high. What is decoded corrects what is expected of the rest:

    residuals      for each pass and band a small network, the same at every place, moves the scale decoder's table indices of the band:

                       own indices, loudness of the lower bands --+--1x1--> 0..255 --1x1--> 0..255 --1x1--> shift of every channel's index
                       neighbours' loudness and indices ----------+  (from pass 2 on)

    hyper-latents  the four neighbours' mean chooses one of ten tables per channel

The networks compute as the scale decoder does (`models.entropy.scale_decoder`): int8 weights, uint8 activations, int32 biases, requantisation by
multiply and shift, every sum within 2**24, where float32 matrix products are exact.

Everything here is written once for NumPy arrays (M, h, w), which define it, and for torch tensors (N, M, h, w), with which the encoder
predicts sizes on its device.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.entropy.scale_decoder import ACTIVATION_LIMIT, EXACT, SHIFT
from models.entropy.tables import LAPLACE_TABLES
from models.errors import WeightsError
from models.grid import PASSES, Phase

Array = Any  # NumPy array or torch tensor

DIAGONAL = ((-1, -1), (-1, 1), (1, -1), (1, 1))
BESIDE = ((-1, 0), (0, -1), (0, 1), (1, 0))
TAPS: dict[Phase, Sequence[tuple[int, int]]] = {(0, 0): (), (1, 1): DIAGONAL, (0, 1): BESIDE, (1, 0): BESIDE}
PHASES: tuple[Phase, ...] = tuple(phase for phases in PASSES for phase in phases)

INPUT_LIMIT = 63  # four inputs sum to a byte
LOUDNESS = (0, 16, 25, 32, 37, 41, 45, 48, 51, 53, 55, 57, 59, 61, 62, 63)  # of |r|, as far as it goes: 16 log2(1 + |r|)
MOST_SHIFT = 32  # table indices up or down
HYPER_REACH = 4  # the neighbours' mean, from its channel's centre, that is told apart
HYPER_CONTEXTS = 2 * HYPER_REACH + 2  # 0: no neighbours
STRIP = 1 << 20  # elements looked at a time: bounds memory


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """A 1x1 convolution over integers with its requantisation; all held in types that compute.

    Attributes:
        weight: float32 (out, in), integers in -127..127.
        bias: float32 (out, 1), in units of the accumulator.
        multiplier: int64 (out, 1); output = (sum * multiplier + 2**23) >> 24.
    """

    weight: Array
    bias: Array
    multiplier: Array

    @classmethod
    def of(cls, weight: NDArray[Any], bias: NDArray[Any], multiplier: NDArray[Any]) -> Layer:
        """From integers of any type (out, in), (out,), (out,)."""
        return cls(weight.astype(np.float32), bias.astype(np.float32)[:, None], multiplier.astype(np.int64)[:, None])

    def __call__(self, parts: Sequence[Array], lowest: int, highest: int) -> Array:
        """The inputs' channels in parts (..., in, n), integers of any type, to int64 (..., out, n) in [lowest, highest]."""
        total, start = self.bias, 0
        for part in parts:
            stop = start + part.shape[-2]
            total = total + self.weight[:, start:stop] @ _float(part)
            start = stop
        return ((_long(total) * self.multiplier + (1 << (SHIFT - 1))) >> SHIFT).clip(lowest, highest)

    def worst_sum(self, input_limit: int) -> int:
        """A bound on the magnitude of every partial sum."""
        return int((abs(self.weight).sum(1) * input_limit + abs(self.bias)[:, 0]).max())


Network = tuple[Layer, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Known:
    """What is known of a phase before its first residual.

    Attributes:
        number: of the pass.
        indices: by the scale decoder, uint8 (..., M, h', w').
        around: mean loudness and mean index of the decoded neighbours (..., M, h', w'), and fifteen times how many they are (..., 1, h',
            w'); uint8, nothing in the first pass.
    """

    number: int
    indices: Array
    around: tuple[Array, ...]


@dataclass(frozen=True, slots=True, eq=False)
class ContextModel:
    """The integers of one model.

    Attributes:
        band_starts: first channel of every band, rising from 0.
        networks: by pass and band. Raises `WeightsError` for sums that would not be exact.
    """

    band_starts: tuple[int, ...]
    networks: tuple[tuple[Network, ...], ...]

    def __post_init__(self) -> None:
        for network in (network for networks in self.networks for network in networks):
            for number, layer in enumerate(network):
                if layer.worst_sum(ACTIVATION_LIMIT if number else INPUT_LIMIT) >= EXACT:
                    raise WeightsError("a context network can exceed 2**24: its sums would not be exact in float32")

    @classmethod
    def silent(cls) -> ContextModel:
        """Moves no index: empty networks."""
        return cls((0,), (((),),) * len(PASSES))

    def band(self, number: int) -> slice:
        """The channels of a band; the last has all that are left."""
        first, *after = self.band_starts[number : number + 2]
        return slice(first, after[0] if after else None)

    def bands(self) -> Iterator[tuple[int, slice]]:
        """Number and channels of every band."""
        return ((number, self.band(number)) for number in range(len(self.band_starts)))

    def tables(self, known: Known, residuals: Array, band: int) -> Array:
        """Table indices uint8 (..., C, h', w') of a band, from the residuals (..., M, h', w') of the phase's lower bands."""
        tables = known.indices[..., self.band(band), :, :] + 0
        if not self.networks[known.number][band]:
            return tables
        first, *hidden, last = self.networks[known.number][band]
        *_, rows, columns = tables.shape
        for strip in _strips(rows, columns * first.weight.shape[1]):
            x = first(self.inputs(known, residuals, band, strip), 0, ACTIVATION_LIMIT)
            for layer in hidden:
                x = layer([x], 0, ACTIVATION_LIMIT)
            part = tables[..., strip, :]
            moved = part + last([x], -MOST_SHIFT, MOST_SHIFT).reshape(part.shape)
            tables[..., strip, :] = moved.clip(1, LAPLACE_TABLES - 1) * (part > 0)  # what is surely zero stays so
        return tables

    def inputs(self, known: Known, residuals: Array, band: int, rows: slice = slice(None)) -> list[Array]:
        """What a band's network sees of these rows: parts (..., channels, places)."""
        channels = self.band(band)
        parts = [known.indices[..., : channels.stop, rows, :]]
        if channels.start:
            parts.append(loudness(residuals[..., : channels.start, rows, :]))
        parts += [values[..., : channels.stop, rows, :] for values in known.around]
        return [part.reshape(*part.shape[:-2], -1) for part in parts]

    def all_corrected(self, indices: Array, residuals: Array) -> Array:
        """Table indices of all elements (..., M, h, w) in the context of their neighbours and of lower bands."""
        corrected = indices + 0
        for row, column in PHASES:
            known = before(indices, residuals, (row, column))
            phase, tables = residuals[..., row::2, column::2], corrected[..., row::2, column::2]
            for band, channels in self.bands():
                tables[..., channels, :, :] = self.tables(known, phase, band)
        return corrected

    def mapped(self, to: Callable[[NDArray[Any]], Array]) -> ContextModel:
        """With other arrays, such as torch's."""
        layers = (
            tuple(tuple(Layer(to(x.weight), to(x.bias), to(x.multiplier)) for x in network) for network in networks)
            for networks in self.networks
        )
        return replace(self, networks=tuple(layers))

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Arrays for the weights file."""
        arrays: dict[str, NDArray[Any]] = {"neighbours.band_starts": np.array(self.band_starts, np.int16)}
        for number, networks in enumerate(self.networks):
            for band, network in enumerate(networks):
                for depth, layer in enumerate(network):
                    name = f"neighbours.{number}.{band}.{depth}"
                    arrays[f"{name}.weight"] = layer.weight.astype(np.int8)
                    arrays[f"{name}.bias"] = layer.bias[:, 0].astype(np.int32)
                    arrays[f"{name}.multiplier"] = layer.multiplier[:, 0].astype(np.int32)
        return arrays

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> ContextModel:
        """The inverse of `to_arrays`. Raises KeyError and `WeightsError`."""

        def network(name: str) -> Network:
            depth = sum(key.startswith(f"{name}.") and key.endswith(".weight") for key in arrays)
            return tuple(
                Layer.of(*(arrays[f"{name}.{number}.{part}"] for part in ("weight", "bias", "multiplier"))) for number in range(depth)
            )

        starts = tuple(int(start) for start in arrays["neighbours.band_starts"])
        names = ([f"neighbours.{number}.{band}" for band in range(len(starts))] for number in range(len(PASSES)))
        found = cls(starts, tuple(tuple(map(network, of_pass)) for of_pass in names))
        if unknown := {name for name in arrays if name.startswith("neighbours.")} - found.to_arrays().keys():
            raise WeightsError(f"not of this version: {min(unknown)}")
        return found


def before(indices: Array, residuals: Array, phase: Phase) -> Known:
    """What is known of a phase, from the scale decoder's indices (..., M, h, w) and the residuals of the phases before it."""
    own = indices[..., phase[0] :: 2, phase[1] :: 2]
    if not TAPS[phase]:
        return Known(_pass_of(phase), own, ())
    count = around(indices[..., :1, :, :] * 0 + INPUT_LIMIT // 4, phase)
    return Known(_pass_of(phase), own, (around(loudness(residuals), phase) >> 2, around(indices, phase) >> 2, count))


def loudness(residuals: Array) -> Array:
    """LOUDNESS of residuals (..., M, h, w), integers of any type: uint8."""
    values = _byte(abs(residuals).clip(0, len(LOUDNESS) - 1))
    table = np.array(LOUDNESS, np.uint8) if isinstance(values, np.ndarray) else values.new_tensor(LOUDNESS)
    *channels, rows, columns = values.shape
    for strip in _strips(rows, columns * math.prod(channels)):
        part = values[..., strip, :]
        values[..., strip, :] = np.take(table, part) if isinstance(part, np.ndarray) else table[part.int()]
    return values


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


def around(values: Array, phase: Phase) -> Array:
    """Sum over the decoded neighbours of every element of the phase; beyond the border there is nothing."""
    first_row, first_column = phase
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


def _strips(rows: int, of_row: int) -> Iterator[slice]:
    """All rows, so many at a time that there are STRIP elements, `of_row` in each."""
    height = max(1, STRIP // max(1, of_row))
    return (slice(start, start + height) for start in range(0, rows, height))


def _byte(values: Array) -> Array:
    return values.astype(np.uint8) if isinstance(values, np.ndarray) else values.byte()


def _float(values: Array) -> Array:
    return values.astype(np.float32) if isinstance(values, np.ndarray) else values.float()


def _long(values: Array) -> Array:
    return values.astype(np.int64) if isinstance(values, np.ndarray) else values.long()


def _wide(values: Array) -> Array:
    return values.astype(np.int32) if isinstance(values, np.ndarray) else values.int()
