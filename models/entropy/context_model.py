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
activations, int32 biases, requantisation (`models.entropy.requantisation`), and every sum within
2**24, where float32 matrix products are exact.

The networks are NumPy's here and define the format; `models.entropy.context_model_torch` runs them
for batches on a device. What they look at is written once for both kinds of arrays: NumPy's
(M, h, w) and torch's (N, M, h, w). Processes that only code entropy never load torch.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any, Generic

import numpy as np

from models.entropy.requantisation import UNIT, Array, Integers, offset_of, requantised, require_exact
from models.entropy.scale_decoder import ACTIVATION_LIMIT
from models.entropy.tables import LAPLACE_TABLES
from models.errors import WeightsError
from models.grid import PASSES, Phase
from models.progress import UNINTERRUPTED, Progress, with_pauses

if TYPE_CHECKING:
    import torch
    from torch import Tensor

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
_LARGEST_TOLD_APART = len(MAGNITUDE_LEVELS) - 1
_SIGNED_LEVELS = (*MAGNITUDE_LEVELS[:0:-1], *MAGNITUDE_LEVELS)  # of -15..15
HYPER_MEAN_LIMIT = 4  # largest distance of the neighbours' mean from its channel's centre that is told apart
HYPER_CONTEXTS = 2 * HYPER_MEAN_LIMIT + 2  # -4..4 as 1..9; 0 has no neighbours
STRIP_ELEMENTS = 1 << 20  # that are looked at at a time: bounds memory

# The name of these arrays in weights files, from before this module had its own. Model ids hash it.
ARRAYS = "neighbours"
LAYER_ARRAYS = ("weight", "bias", "multiplier")


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """A 1x1 convolution over integers with its requantisation; all held in types that compute.

    Attributes:
        weight: float32 (out, in), integers in -127..127.
        bias: float32 (out, 1), integers, in units of the accumulator.
        ratio: float64 (out, 1), the multiplier of `models.entropy.requantisation` times UNIT.
    """

    weight: Integers
    bias: Integers
    ratio: Integers

    @staticmethod
    def of(weight: Integers, bias: Integers, multiplier: Integers) -> Layer:
        """Take integers of any type, (out, in), (out,) and (out,)."""
        return Layer(
            weight.astype(np.float32),
            bias.astype(np.float32)[:, None],
            multiplier.astype(np.float64)[:, None] * UNIT,
        )

    def __call__(self, x: Integers, lowest: int, highest: int) -> Integers:
        """Compute (..., out, n) in [lowest, highest] from x (..., in, n): integers in float32."""
        return requantised(self.weight @ x, self.ratio, self.offset, lowest, highest)

    @property
    def offset(self) -> Integers:
        """The bias as `requantised` takes it: float64 (out, 1)."""
        return offset_of(self.bias, self.ratio)

    def worst_sum(self, input_limit: int) -> int:
        """Bound the magnitude of every partial sum, for inputs in 0..input_limit."""
        return int((abs(self.weight).sum(1) * input_limit + abs(self.bias)[:, 0]).max())

    def integers(self) -> tuple[Integers, Integers, Integers]:
        """Undo `of`: int8 (out, in), int32 (out,) and int32 (out,)."""
        return (
            self.weight.astype(np.int8),
            self.bias[:, 0].astype(np.int32),
            (self.ratio[:, 0] / UNIT).astype(np.int32),
        )


Network = tuple[Layer, ...]


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
class ContextNetworks:
    """The networks of one model, or of some channels of it.

    Attributes:
        band_starts: first channel of every band, rising from 0.
        networks: by pass and band; an empty one moves nothing.
    """

    band_starts: tuple[int, ...]
    networks: tuple[tuple[Network, ...], ...]

    def band(self, number: int) -> slice:
        """Give the channels of a band; the last has all that are left."""
        first, *after = self.band_starts[number : number + 2]
        return slice(first, after[0] if after else None)

    def bands(self) -> Iterator[tuple[int, slice]]:
        """Yield the number and the channels of every band."""
        return ((number, self.band(number)) for number in range(len(self.band_starts)))

    def tables(
        self, known: Known[Integers], levels: Integers, band: int, progress: Progress = UNINTERRUPTED
    ) -> Integers:
        """Choose the tables of one band of a phase.

        Args:
            known: of the phase.
            levels: of the phase's magnitudes, uint8 (..., M, h', w'); those of lower bands count.
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
        *_, count, rows, columns = tables.shape
        for strip in with_pauses(_strips(rows, columns * network[0].weight.shape[1]), progress):
            inputs = network_inputs(known, levels, channels, strip)
            x = inputs
            for layer in network[:-1]:
                x = layer(x, 0, ACTIVATION_LIMIT)
            moved = network[-1](x, -MAX_INDEX_SHIFT, MAX_INDEX_SHIFT)
            own = inputs[..., channels.start : channels.start + count, :]  # indices come first
            moved += own
            moved = moved.clip(1, LAPLACE_TABLES - 1) * own.clip(0, 1)
            tables[..., strip, :] = moved.reshape(tables[..., strip, :].shape)
        return tables

    def of(self, channels: Sequence[int]) -> ContextNetworks:
        """Give the networks of a picture in which all but these channels are surely zero.

        They take and give these alone: the inputs from others are 0.

        Args:
            channels: their numbers, rising.
        """
        counts = [bisect_left(channels, start) for start in self.band_starts]
        networks = tuple(
            tuple(
                _of(network, channels, start, around=bool(NEIGHBOURS[phases[0]]))
                for start, network in zip(self.band_starts, of_pass, strict=True)
            )
            for of_pass, phases in zip(self.networks, PASSES, strict=True)
        )
        return ContextNetworks(tuple(counts), networks)

    def all_corrected(
        self, indices: Integers, residuals: Integers, progress: Progress = UNINTERRUPTED
    ) -> Integers:
        """Choose the tables of all residuals at once, when all are known.

        Args:
            indices: by the scale decoder, uint8 (..., M, h, w).
            residuals: (..., M, h, w), integers of any type; 0 where the index is 0.
            progress: pauses, and may end the work by raising.

        Returns:
            Table indices uint8 (..., M, h, w).
        """
        coded = coded_channels(indices)
        if 2 * len(coded) < indices.shape[-3]:  # to pick more out takes longer than it saves
            corrected = _zeros(indices, indices.shape)
            if coded:
                index, residual = (values[..., coded, :, :] for values in (indices, residuals))
                corrected[..., coded, :, :] = self.of(coded).all_corrected(index, residual, progress)
            return corrected
        corrected = indices + 0  # a copy
        levels = magnitude_level(residuals)
        for row, column in PHASES:
            known = known_before(indices, levels, (row, column))
            phase = levels[..., row::2, column::2] + 0  # contiguous
            tables = corrected[..., row::2, column::2]
            for band, channels in self.bands():
                progress.pause()
                tables[..., channels, :, :] = self.tables(known, phase, band, progress)
        return corrected


@dataclass(frozen=True, slots=True, eq=False)
class ContextModel(ContextNetworks):
    """The context networks as a model defines and stores them, in NumPy.

    Raises:
        WeightsError: sums that would not be exact.
    """

    def __post_init__(self) -> None:
        for network in (network for networks in self.networks for network in networks):
            for number, layer in enumerate(network):
                _, _, multiplier = layer.integers()
                limit = ACTIVATION_LIMIT if number else INPUT_LIMIT
                require_exact(layer.worst_sum(limit), multiplier, "a context network")

    @classmethod
    def identity(cls) -> ContextModel:
        """Make one whose networks are empty: it moves no index."""
        return cls((0,), (((),),) * len(PASSES))

    @property
    def channels(self) -> int:
        """Number of channels of a picture; 0 where the networks are empty and take any."""
        last = self.networks[0][-1]
        return self.band_starts[-1] + len(last[-1].weight) if last else 0

    def to_arrays(self) -> dict[str, Integers]:
        """Make the arrays of the weights file, integers all."""
        arrays: dict[str, Integers] = {f"{ARRAYS}.band_starts": np.array(self.band_starts, np.int16)}
        for number, networks in enumerate(self.networks):
            for band, network in enumerate(networks):
                for depth, layer in enumerate(network):
                    for part, values in zip(LAYER_ARRAYS, layer.integers(), strict=True):
                        arrays[f"{ARRAYS}.{number}.{band}.{depth}.{part}"] = values
        return arrays

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Integers]) -> ContextModel:
        """Undo `to_arrays`; arrays of other names' beginnings are ignored.

        Raises:
            KeyError: an array is missing.
            WeightsError: an array is not of this version, or sums would not be exact.
        """

        def network(name: str) -> Network:
            depth = sum(key.startswith(f"{name}.") and key.endswith(".weight") for key in arrays)
            return tuple(
                Layer.of(*(arrays[f"{name}.{number}.{part}"] for part in LAYER_ARRAYS))
                for number in range(depth)
            )

        starts = tuple(int(start) for start in arrays[f"{ARRAYS}.band_starts"])
        names = (
            [f"{ARRAYS}.{number}.{band}" for band in range(len(starts))] for number in range(len(PASSES))
        )
        found = cls(starts, tuple(tuple(map(network, of_pass)) for of_pass in names))
        if unknown := {name for name in arrays if name.startswith(f"{ARRAYS}.")} - found.to_arrays().keys():
            raise WeightsError(f"not of this version: {min(unknown)}")
        return found


def _of(network: Network, channels: Sequence[int], start: int, *, around: bool) -> Network:
    """Give a band's network for these channels alone, see `ContextNetworks.of`.

    Args:
        network: of the band; may be empty.
        channels: their numbers, rising.
        start: first channel of the band.
        around: whether it looks at neighbours.
    """
    stop: int = start + (len(network[-1].weight) if network else 0)
    lower: list[int] = [channel for channel in channels if channel < start]
    own: list[int] = [channel for channel in channels if start <= channel < stop]
    if not own:
        return network[:0]
    seen: list[int] = lower + own
    inputs: list[int] = [*seen, *(stop + channel for channel in lower)]
    if around:
        first = stop + start  # of those around, in the order of `network_inputs`
        inputs += [at + channel for at in (first, first + stop) for channel in seen]
        inputs.append(first + 2 * stop)
    outputs = [channel - start for channel in own]
    head, *between, last = network
    last = Layer(last.weight[outputs], last.bias[outputs], last.ratio[outputs])
    return (replace(head, weight=head.weight[:, inputs]), *between, last)


def coded_channels(indices: Array) -> list[int]:
    """List the channels of indices (..., M, h, w) that are not surely zero everywhere."""
    *batch, channels, rows, columns = indices.shape
    planes = indices.reshape(math.prod(batch), channels, rows * columns)
    coded: Any = (planes > 0).any(-1).any(0).tolist()
    return [channel for channel, is_coded in enumerate(coded) if is_coded]


def network_inputs(known: Known[Array], levels: Array, channels: slice, rows: slice = slice(None)) -> Array:
    """Collect the input of a band's network: float32 (..., in, places), integers in 0..63.

    Args:
        known: of the phase.
        levels: of the phase's magnitudes, uint8 (..., M, h', w'); those of lower bands count.
        channels: of the band.
        rows: of the phase.
    """
    parts = [known.indices[..., : channels.stop, rows, :], levels[..., : channels.start, rows, :]]
    parts += [values[..., : channels.stop, rows, :] for values in known.around]
    return _joined(parts)


def known_before(indices: Array, levels: Array, phase: Phase) -> Known[Array]:
    """Collect what the networks of a phase know from the phases before it.

    Args:
        indices: by the scale decoder, uint8 (..., M, h, w).
        levels: of magnitudes, uint8 (..., M, h, w); those of earlier passes count.
        phase: row and column in a cell of 2x2.
    """
    number = next(number for number, phases in enumerate(PASSES) if phase in phases)
    own = indices[..., phase[0] :: 2, phase[1] :: 2] + 0  # contiguous
    if not NEIGHBOURS[phase]:
        return Known(number, own, ())
    count = neighbour_sum(indices[..., :1, :, :] * 0 + INPUT_LIMIT // 4, phase)
    level = neighbour_sum(levels, phase)
    index = neighbour_sum(indices, phase)
    level >>= 2
    index >>= 2
    return Known(number, own, (level, index, count))


def magnitude_level(residuals: Array) -> Array:
    """Look the magnitudes of residuals (..., M, h, w), integers of any type, up: uint8 in 0..63."""
    levels = _zeros(_uint8(residuals[..., :0, :]), residuals.shape)
    *channels, rows, columns = residuals.shape
    for strip in _strips(rows, columns * math.prod(channels)):
        places = residuals[..., strip, :].clip(-_LARGEST_TOLD_APART, _LARGEST_TOLD_APART)
        levels[..., strip, :] = _looked_up(_SIGNED_LEVELS, places + _LARGEST_TOLD_APART)
    return levels


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
    """Sum values (..., C, h, w) over every element's decoded neighbours: (..., C, h', w').

    Beyond the border there is nothing to add.
    """
    row, column = phase
    sums = _zeros(values, values[..., row::2, column::2].shape)
    *batch, channels, rows, columns = values.shape
    for strip in _strips(channels, math.prod(batch) * rows * columns):
        sums[..., strip, :, :] = _sums_at(values[..., strip, :, :], NEIGHBOURS[phase])[..., row::2, column::2]
    return sums


def _sums_at(values: Array, offsets: Sequence[tuple[int, int]]) -> Array:
    """Sum values (..., h, w) at these offsets from every element: (..., h, w).

    Rows are joined to one, with zeros between: a sum of long rows takes a fraction of the time.
    """
    *others, rows, columns = values.shape
    width = columns + 2
    padded = _zeros(values, (*others, rows + 3, width))  # the last row: the sums run two elements over
    padded[..., 1 : rows + 1, 1 : columns + 1] = values
    joined = padded.reshape(*others, (rows + 3) * width)
    total = _zeros(values, (*others, rows * width))
    for down, right in offsets:
        start = (1 + down) * width + 1 + right
        total += joined[..., start : start + rows * width]
    return total.reshape(*others, rows, width)[..., :columns]


def _strips(rows: int, elements_per_row: int) -> Iterator[slice]:
    """Cut rows into strips of at most STRIP_ELEMENTS, but at least one row each."""
    height = max(1, STRIP_ELEMENTS // max(1, elements_per_row))
    return (slice(start, start + height) for start in range(0, rows, height))


def _looked_up(table: tuple[int, ...], places: Array) -> Array:
    """Give table[places], uint8, for places of any integer type or shape."""
    if isinstance(places, np.ndarray):
        return np.array(table, np.uint8).take(places)
    index = places.int().flatten()
    return _on_device(table, index.device).index_select(0, index).view(places.shape)


@cache  # a CUDA graph cannot copy from the host's memory, and else the device would wait for it
def _on_device(table: tuple[int, ...], device: torch.device) -> Tensor:
    from torch import inference_mode, tensor, uint8  # only where it is loaded anyway

    with inference_mode(False):  # whoever asks first, all may use it
        return tensor(table, dtype=uint8, device=device)


def _joined(parts: Sequence[Array]) -> Array:
    """Stack parts (..., channels, rows, columns): float32 (..., channels, places)."""
    *batch, _, rows, columns = parts[0].shape
    channels = sum(part.shape[-3] for part in parts)
    joined = _empty_float32(parts[0], (*batch, channels, rows, columns))
    start = 0
    for part in parts:
        stop = start + part.shape[-3]
        joined[..., start:stop, :, :] = part
        start = stop
    return joined.reshape(*batch, channels, rows * columns)


def _empty_float32(like: Array, shape: Sequence[int]) -> Array:
    """Make an array where `like` is, to be filled."""
    if isinstance(like, np.ndarray):
        return np.empty(shape, np.float32)
    from torch import float32  # only where it is loaded anyway

    return like.new_empty(tuple(shape), dtype=float32)


def _zeros(like: Array, shape: Sequence[int]) -> Array:
    """Make zeros where `like` is, of its type."""
    if isinstance(like, np.ndarray):
        return np.zeros(shape, like.dtype)
    return like.new_zeros(tuple(shape))


def _uint8(values: Array) -> Array:
    return values.astype(np.uint8) if isinstance(values, np.ndarray) else values.byte()


def _int32(values: Array) -> Array:
    return values.astype(np.int32) if isinstance(values, np.ndarray) else values.int()
