"""The context model: decoded symbols choose the tables of those that follow [format].

It computes in integers only, so that every machine chooses alike.

Symbols are coded phase by phase, in the passes of `models.grid`. Within a phase, residuals are
coded band by band of channels, from low frequencies to high.

Residuals. For each pass and band a small network, the same at every place, moves the table indices
that the scale decoder gave to the band:

    table indices of this band and below --+
    magnitude levels of the lower bands ---+--1x1--> 0..255 --1x1--> 0..255 --1x1--> index shifts
    from pass 2 on, of the neighbours: ----+
    magnitude levels, indices, how many

Hyper-latents. The mean of the four neighbours chooses one of ten tables per channel.

The networks compute as the scale decoder does (`models.entropy.scale_decoder`): int8 weights, uint8
activations, int32 biases, requantisation by multiply and shift, and every sum within 2**24, where
float32 matrix products are exact.

Everything is written once for two kinds of arrays: NumPy's (M, h, w), which define the format, and
torch's (N, M, h, w), with which the encoder predicts sizes on its device. Processes that only code
entropy use NumPy's and never load torch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from models.entropy.requantisation import EXACT_LIMIT, MULTIPLIER_BITS
from models.entropy.scale_decoder import ACTIVATION_LIMIT
from models.entropy.tables import LAPLACE_TABLES
from models.errors import WeightsError
from models.grid import PASSES, Phase
from models.progress import UNINTERRUPTED, Progress, with_pauses

if TYPE_CHECKING:
    from torch import Tensor

Integers = NDArray[Any]  # whole numbers, in whatever type computes
Array = TypeVar("Array", Integers, "Tensor")

DIAGONAL = ((-1, -1), (-1, 1), (1, -1), (1, 1))
ADJACENT = ((-1, 0), (0, -1), (0, 1), (1, 0))
# Rows down and columns right, from an element of each phase to its neighbours of earlier passes.
NEIGHBOURS: dict[Phase, Sequence[tuple[int, int]]] = {
    (0, 0): (),
    (1, 1): DIAGONAL,
    (0, 1): ADJACENT,
    (1, 0): ADJACENT,
}
PHASES: tuple[Phase, ...] = tuple(phase for phases in PASSES for phase in phases)

INPUT_LIMIT = 63  # largest input of a network: the sum of four fits a byte
MAX_INDEX_SHIFT = 32  # table indices, up or down
# Magnitude |r| to level: 16 log2(1 + |r|), rounded, and the last for all larger ones.
MAGNITUDE_LEVELS = (0, 16, 25, 32, 37, 41, 45, 48, 51, 53, 55, 57, 59, 61, 62, 63)
HYPER_MEAN_LIMIT = 4  # largest distance of the neighbours' mean from its channel's centre that is told apart
HYPER_CONTEXTS = 2 * HYPER_MEAN_LIMIT + 2  # -4..4 as 1..9; 0 has no neighbours
STRIP_ELEMENTS = 1 << 20  # that are looked at at a time: bounds memory

# The name of these arrays in weights files, from before this module had its own. Model ids hash it.
ARRAYS = "neighbours"


@dataclass(frozen=True, slots=True, eq=False)
class Layer(Generic[Array]):
    """A 1x1 convolution over integers with its requantisation; all held in types that compute.

    Attributes:
        weight: float32 (out, in), integers in -127..127.
        bias: float32 (out, 1), integers, in units of the accumulator.
        multiplier: int64 (out, 1); output = (sum * multiplier + 2**23) >> 24.
    """

    weight: Array
    bias: Array
    multiplier: Array

    @staticmethod
    def of(weight: Integers, bias: Integers, multiplier: Integers) -> Layer[Integers]:
        """Take integers of any type, (out, in), (out,) and (out,)."""
        return Layer(
            weight.astype(np.float32), bias.astype(np.float32)[:, None], multiplier.astype(np.int64)[:, None]
        )

    def __call__(self, parts: Sequence[Array], lowest: int, highest: int) -> Array:
        """Compute int64 (..., out, n) in [lowest, highest].

        Args:
            parts: the input's channels, (..., channels, n) each, integers of any type.
            lowest, highest: what the output is clamped to.
        """
        total = self.bias
        start = 0
        for part in parts:
            stop = start + part.shape[-2]
            total = total + self.weight[:, start:stop] @ _float32(part)
            start = stop
        return ((_int64(total) * self.multiplier + (1 << (MULTIPLIER_BITS - 1))) >> MULTIPLIER_BITS).clip(
            lowest, highest
        )

    def worst_sum(self, input_limit: int) -> int:
        """Bound the magnitude of every partial sum, for inputs in 0..input_limit."""
        return int((abs(self.weight).sum(1) * input_limit + abs(self.bias)[:, 0]).max())


Network = tuple[Layer[Array], ...]


@dataclass(frozen=True, slots=True, eq=False)
class Known(Generic[Array]):
    """The inputs that the networks of a phase have before its first residual.

    Attributes:
        number: of the pass.
        indices: by the scale decoder, uint8 (..., M, h', w').
        around: of the decoded neighbours: their mean magnitude level and mean table index, uint8
            (..., M, h', w'), and 15 times their number, uint8 (..., 1, h', w'). Empty in the first
            pass, which has none.
    """

    number: int
    indices: Array
    around: tuple[Array, ...]


@dataclass(frozen=True, slots=True, eq=False)
class ContextNetworks(Generic[Array]):
    """The networks of one model, in the arrays that they compute with.

    Attributes:
        band_starts: first channel of every band, rising from 0.
        networks: by pass and band; an empty one moves nothing.
    """

    band_starts: tuple[int, ...]
    networks: tuple[tuple[Network[Array], ...], ...]

    def band(self, number: int) -> slice:
        """Give the channels of a band; the last has all that are left."""
        first, *after = self.band_starts[number : number + 2]
        return slice(first, after[0] if after else None)

    def bands(self) -> Iterator[tuple[int, slice]]:
        """Yield the number and the channels of every band."""
        return ((number, self.band(number)) for number in range(len(self.band_starts)))

    def tables(
        self, known: Known[Array], residuals: Array, band: int, progress: Progress = UNINTERRUPTED
    ) -> Array:
        """Choose the tables of one band of a phase.

        Args:
            known: of the phase.
            residuals: of the phase (..., M, h', w'), integers of any type; lower bands count.
            band: its number.
            progress: pauses, and may end the work by raising.

        Returns:
            Table indices uint8 (..., C, h', w'), 0 exactly where the scale decoder says 0.
        """
        channels = self.band(band)
        tables = known.indices[..., channels, :, :] + 0  # a copy
        network = self.networks[known.number][band]
        if not network:
            return tables
        *_, rows, columns = tables.shape
        for strip in with_pauses(_strips(rows, columns * network[0].weight.shape[1]), progress):
            x = network[0](network_inputs(known, residuals, channels, strip), 0, ACTIVATION_LIMIT)
            for layer in network[1:-1]:
                x = layer([x], 0, ACTIVATION_LIMIT)
            part = tables[..., strip, :]
            moved = part + network[-1]([x], -MAX_INDEX_SHIFT, MAX_INDEX_SHIFT).reshape(part.shape)
            tables[..., strip, :] = moved.clip(1, LAPLACE_TABLES - 1) * (part > 0)
        return tables

    def all_corrected(self, indices: Array, residuals: Array, progress: Progress = UNINTERRUPTED) -> Array:
        """Choose the tables of all residuals at once, when all are known.

        Args:
            indices: by the scale decoder, uint8 (..., M, h, w).
            residuals: (..., M, h, w), integers of any type.
            progress: pauses, and may end the work by raising.

        Returns:
            Table indices uint8 (..., M, h, w).
        """
        corrected = indices + 0  # a copy
        for row, column in PHASES:
            known = known_before(indices, residuals, (row, column))
            phase = residuals[..., row::2, column::2]
            tables = corrected[..., row::2, column::2]
            for band, channels in self.bands():
                progress.pause()
                tables[..., channels, :, :] = self.tables(known, phase, band, progress)
        return corrected


@dataclass(frozen=True, slots=True, eq=False)
class ContextModel(ContextNetworks[Integers]):
    """The context networks as a model defines and stores them, in NumPy.

    Raises:
        WeightsError: sums that would not be exact.
    """

    def __post_init__(self) -> None:
        for network in (network for networks in self.networks for network in networks):
            for number, layer in enumerate(network):
                if layer.worst_sum(ACTIVATION_LIMIT if number else INPUT_LIMIT) >= EXACT_LIMIT:
                    raise WeightsError(
                        "a context network can exceed 2**24: its sums would not be exact in float32"
                    )

    @classmethod
    def identity(cls) -> ContextModel:
        """Make one whose networks are empty: it moves no index."""
        return cls((0,), (((),),) * len(PASSES))

    def mapped(self, to: Callable[[Integers], Array]) -> ContextNetworks[Array]:
        """Convert the networks to other arrays, such as torch's on a device."""
        return ContextNetworks(
            self.band_starts,
            tuple(
                tuple(
                    tuple(Layer(to(x.weight), to(x.bias), to(x.multiplier)) for x in network)
                    for network in networks
                )
                for networks in self.networks
            ),
        )

    def to_arrays(self) -> dict[str, Integers]:
        """Make the arrays of the weights file, integers all."""
        arrays: dict[str, Integers] = {f"{ARRAYS}.band_starts": np.array(self.band_starts, np.int16)}
        for number, networks in enumerate(self.networks):
            for band, network in enumerate(networks):
                for depth, layer in enumerate(network):
                    name = f"{ARRAYS}.{number}.{band}.{depth}"
                    arrays[f"{name}.weight"] = layer.weight.astype(np.int8)
                    arrays[f"{name}.bias"] = layer.bias[:, 0].astype(np.int32)
                    arrays[f"{name}.multiplier"] = layer.multiplier[:, 0].astype(np.int32)
        return arrays

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Integers]) -> ContextModel:
        """Undo `to_arrays`; arrays of other names' beginnings are ignored.

        Raises:
            KeyError: an array is missing.
            WeightsError: an array is not of this version, or sums would not be exact.
        """

        def network(name: str) -> Network[Integers]:
            depth = sum(key.startswith(f"{name}.") and key.endswith(".weight") for key in arrays)
            parts = ("weight", "bias", "multiplier")
            return tuple(
                Layer.of(*(arrays[f"{name}.{number}.{part}"] for part in parts)) for number in range(depth)
            )

        starts = tuple(int(start) for start in arrays[f"{ARRAYS}.band_starts"])
        names = (
            [f"{ARRAYS}.{number}.{band}" for band in range(len(starts))] for number in range(len(PASSES))
        )
        found = cls(starts, tuple(tuple(map(network, of_pass)) for of_pass in names))
        if unknown := {name for name in arrays if name.startswith(f"{ARRAYS}.")} - found.to_arrays().keys():
            raise WeightsError(f"not of this version: {min(unknown)}")
        return found


def network_inputs(
    known: Known[Array], residuals: Array, channels: slice, rows: slice = slice(None)
) -> list[Array]:
    """Collect the input of a band's network: parts (..., channels, places), integers in 0..63.

    Args:
        known: of the phase.
        residuals: of the phase (..., M, h', w'), integers of any type; lower bands count.
        channels: of the band.
        rows: of the phase.
    """
    parts = [known.indices[..., : channels.stop, rows, :]]
    if channels.start:
        parts.append(magnitude_level(residuals[..., : channels.start, rows, :]))
    parts += [values[..., : channels.stop, rows, :] for values in known.around]
    return [part.reshape(*part.shape[:-2], -1) for part in parts]


def known_before(indices: Array, residuals: Array, phase: Phase) -> Known[Array]:
    """Collect what the networks of a phase know from the phases before it.

    Args:
        indices: by the scale decoder, uint8 (..., M, h, w).
        residuals: (..., M, h, w), integers of any type; those of earlier passes count.
        phase: row and column in a cell of 2x2.
    """
    number = next(number for number, phases in enumerate(PASSES) if phase in phases)
    own = indices[..., phase[0] :: 2, phase[1] :: 2]
    if not NEIGHBOURS[phase]:
        return Known(number, own, ())
    count = neighbour_sum(indices[..., :1, :, :] * 0 + INPUT_LIMIT // 4, phase)
    level = neighbour_sum(magnitude_level(residuals), phase) >> 2
    index = neighbour_sum(indices, phase) >> 2
    return Known(number, own, (level, index, count))


def magnitude_level(residuals: Array) -> Array:
    """Look the magnitudes of residuals (..., M, h, w), integers of any type, up: uint8 in 0..63."""
    levels = _uint8(residuals[..., :0, :])
    *channels, rows, columns = residuals.shape
    strips = []
    for strip in _strips(rows, columns * math.prod(channels)):
        magnitude = abs(residuals[..., strip, :]).clip(0, len(MAGNITUDE_LEVELS) - 1)
        strips.append(_looked_up(MAGNITUDE_LEVELS, _uint8(magnitude)))
    return _joined(strips) if strips else levels


def hyper_contexts(z: Array, centre: Array, phase: Phase) -> Array:
    """Choose which of its channel's HYPER_CONTEXTS tables codes every element of a phase of z.

    Args:
        z: (..., C, h, w), integers of any type; those of earlier passes count.
        centre: value that each channel's means are measured from, int32 (C, 1, 1).
        phase: row and column in a cell of 2x2.

    Returns:
        Contexts (..., C, h', w'), integers.
    """
    if not NEIGHBOURS[phase]:
        return _int32(z[..., phase[0] :: 2, phase[1] :: 2]) * 0
    total = neighbour_sum(_int32(z) - centre, phase)
    count = neighbour_sum(_int32(z[..., :1, :, :]) * 0 + 1, phase)
    mean = (2 * total + count) // (2 * count.clip(1, len(ADJACENT)))
    contexts: Array = (mean.clip(-HYPER_MEAN_LIMIT, HYPER_MEAN_LIMIT) + HYPER_MEAN_LIMIT + 1) * (count > 0)
    return contexts


def neighbour_sum(values: Array, phase: Phase) -> Array:
    """Sum values (..., h, w) over every element's decoded neighbours in a phase: (..., h', w').

    Beyond the border there is nothing to add.
    """
    first_row, first_column = phase
    total = values[..., first_row::2, first_column::2] * 0
    for row, column in NEIGHBOURS[phase]:
        to_row, from_row = _first(first_row + row)
        to_column, from_column = _first(first_column + column)
        part = values[..., from_row::2, from_column::2][
            ..., : total.shape[-2] - to_row, : total.shape[-1] - to_column
        ]
        total[..., to_row : to_row + part.shape[-2], to_column : to_column + part.shape[-1]] += part
    return total


def _first(start: int) -> tuple[int, int]:
    """Give first target and first source, for every second source from `start` on, -1 or more."""
    return (1, start + 2) if start < 0 else (0, start)


def _strips(rows: int, elements_per_row: int) -> Iterator[slice]:
    """Cut rows into strips of at most STRIP_ELEMENTS, but at least one row each."""
    height = max(1, STRIP_ELEMENTS // max(1, elements_per_row))
    return (slice(start, start + height) for start in range(0, rows, height))


def _looked_up(table: tuple[int, ...], places: Array) -> Array:
    """Give table[places], uint8, for places uint8 of any shape."""
    if isinstance(places, np.ndarray):
        return np.array(table, np.uint8).take(places)
    return places.new_tensor(table)[places.int()]


def _joined(strips: list[Array]) -> Array:
    """Put strips of rows together again."""
    first = strips[0]
    if isinstance(first, np.ndarray):
        return np.concatenate(strips, axis=-2)
    from torch import cat  # only where it is loaded anyway

    return cat(strips, dim=-2)


def _uint8(values: Array) -> Array:
    return values.astype(np.uint8) if isinstance(values, np.ndarray) else values.byte()


def _int32(values: Array) -> Array:
    return values.astype(np.int32) if isinstance(values, np.ndarray) else values.int()


def _int64(values: Array) -> Array:
    return values.astype(np.int64) if isinstance(values, np.ndarray) else values.long()


def _float32(values: Array) -> Array:
    return values.astype(np.float32) if isinstance(values, np.ndarray) else values.float()
