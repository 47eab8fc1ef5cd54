"""The scale decoder as it is defined [format], in NumPy: z_hat to a table index per element of y.

    z_hat, clamped to +-127 --conv--> requantise 0..255 --shuffle--> conv --> requantise 0..255
        --shuffle--> conv --> requantise 0..1023 --> look-up --> index of a Laplace table, 0..63

Weights are int8, activations uint8, biases int32; requantisation multiplies and shifts
(`models.entropy.requantisation`).

Every sum provably stays within 2**24, where float32 holds all integers. So float32 matrix products
give what 64-bit integers give, in any order of summation; `self_check` holds this machine's to it.
A layer is one such product, over all places and their 3x3 neighbourhoods.

`models.entropy.scale_decoder_torch` does the same for batches on a device.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from models.entropy.blas import single_threaded
from models.entropy.requantisation import (
    MULTIPLIER_BITS,
    UNIT,
    Integers,
    offset_of,
    requantised,
    require_exact,
)
from models.errors import WeightsError
from models.grid import HYPER_STRIDE, tiles
from models.progress import UNINTERRUPTED, Progress, with_pauses

INPUT_LIMIT = 127  # largest magnitude of z_hat
ACTIVATION_LIMIT = 255  # largest output of the first two layers
RAW_LIMIT = 1023  # largest output of the third, which the look-up takes
TILE = 16  # hyper-latents on a side: 20 MB of intermediate integers

# What `extremes` found, by the hash of the decoder.
_EXTREMES: dict[bytes, tuple[NDArray[np.int64], NDArray[np.uint8]]] = {}


@dataclass(frozen=True, slots=True, eq=False)
class IntegerLayer:
    """One 3x3 convolution over integers with its requantisation.

    Attributes:
        weight: int8 (out, in, 3, 3).
        bias: int32 (out,), in units of the accumulator.
        multiplier: int32 (out,); output = clamp((sum * multiplier + 2**23) >> 24, 0, limit).
    """

    weight: NDArray[np.int8]
    bias: NDArray[np.int32]
    multiplier: NDArray[np.int32]

    def worst_sum(self, input_limit: int) -> int:
        """Bound the magnitude of every partial sum, for inputs of at most `input_limit`."""
        return int(
            (
                np.abs(self.weight.astype(np.int64)).sum((1, 2, 3)) * input_limit
                + np.abs(self.bias.astype(np.int64))
            ).max()
        )

    def __call__(self, x: Integers, limit: int, arithmetic: type[np.float32 | np.int64]) -> Integers:
        """Compute (out, h, w) in [0, limit], in that arithmetic's type, from x (in, h, w).

        Args:
            x: integers in any type, with 0 beyond the border.
            limit: largest output.
            arithmetic: float32 is fast; int64 is the definition.
        """
        _, h, w = x.shape
        padded = np.pad(x.astype(arithmetic), ((0, 0), (1, 1), (1, 1)))
        windows = sliding_window_view(padded, (3, 3), (1, 2)).transpose(0, 3, 4, 1, 2)
        total = self.weight.reshape(len(self.weight), -1).astype(arithmetic) @ windows.reshape(-1, h * w)
        bias = self.bias[:, None]
        multiplier = self.multiplier[:, None]
        scaled: Integers
        if arithmetic is np.float32:
            ratio = multiplier * UNIT
            scaled = requantised(total, ratio, offset_of(bias, ratio), 0, limit)
        else:
            half = 1 << (MULTIPLIER_BITS - 1)
            scaled = (((total + bias) * multiplier + half) >> MULTIPLIER_BITS).clip(0, limit)
        return scaled.reshape(-1, h, w)


def _shuffle(x: Integers) -> Integers:
    """Move depth to space: (4 c, h, w) to (c, 2 h, 2 w), in the order of torch's PixelShuffle."""
    c, h, w = x.shape
    return x.reshape(c // 4, 2, 2, h, w).transpose(0, 3, 1, 4, 2).reshape(c // 4, 2 * h, 2 * w)


def tile_by_tile(
    of_tile: Callable[[Integers], NDArray[np.uint8]], z_hat: Integers, channels: int, progress: Progress
) -> NDArray[np.uint8]:
    """Compute table indices uint8 (channels, 4 h, 4 w) from z_hat (C, h, w) in bounded memory.

    Args:
        of_tile: does so for a part of z_hat.
        z_hat: of one picture.
        channels: of the indices.
        progress: pauses, and may end the work by raising.
    """
    _, rows, columns = z_hat.shape
    indices = np.empty((channels, HYPER_STRIDE * rows, HYPER_STRIDE * columns), np.uint8)
    for tile in with_pauses(tiles(rows, columns, TILE), progress):
        index = of_tile(z_hat[:, *tile.outer()])
        indices[:, *tile.inner(HYPER_STRIDE)] = index[:, *tile.within(HYPER_STRIDE)]
    return indices


@dataclass(frozen=True, slots=True, eq=False)
class IntegerScaleDecoder:
    """The integers of one model.

    Attributes:
        layers: three convolutions; each of the first two is followed by depth to space.
        lookup: table index of every output of the third, uint8 (1024,).

    Raises:
        WeightsError: sums that would not be exact.
    """

    layers: tuple[IntegerLayer, IntegerLayer, IntegerLayer]
    lookup: NDArray[np.uint8]

    def __post_init__(self) -> None:
        limits = (INPUT_LIMIT, ACTIVATION_LIMIT, ACTIVATION_LIMIT)
        for number, (layer, limit) in enumerate(zip(self.layers, limits, strict=True)):
            require_exact(layer.worst_sum(limit), layer.multiplier, f"layer {number} of the scale decoder")

    @single_threaded()
    def __call__(
        self,
        z_hat: Integers,
        *,
        arithmetic: type[np.float32 | np.int64] = np.float32,
        progress: Progress = UNINTERRUPTED,
    ) -> NDArray[np.uint8]:
        """Compute table indices uint8 (M, 4 h, 4 w) from z_hat (C, h, w).

        `progress` may end the work by raising.
        """
        first, second, third = self.layers

        def of_tile(z: Integers) -> NDArray[np.uint8]:
            x = _shuffle(first(z.clip(-INPUT_LIMIT, INPUT_LIMIT), ACTIVATION_LIMIT, arithmetic))
            x = _shuffle(second(x, ACTIVATION_LIMIT, arithmetic))
            return self.lookup.take(third(x, RAW_LIMIT, arithmetic).astype(np.intp))

        return tile_by_tile(of_tile, z_hat, len(third.weight), progress)

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> IntegerScaleDecoder:
        """Take the arrays of a weights file, which `ExactScaleDecoder.to_arrays` made.

        Raises:
            KeyError: an array is missing.
            WeightsError: sums that would not be exact.
        """

        def layer(number: int) -> IntegerLayer:
            return IntegerLayer(
                *(arrays[f"scale.{number}.{part}"] for part in ("weight", "bias", "multiplier"))
            )

        return cls((layer(0), layer(1), layer(2)), arrays["scale.lookup"])

    def extremes(self) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
        """Make z_hat (C, 3, 4) that drives the sums to their extremes, and its table indices.

        The indices (M, 12, 16) are computed in 64-bit integers, once for all decoders of the same
        integers: that takes a third of a second, and one model has two decoders.
        """
        digest = hashlib.sha256(self.lookup.tobytes())
        for layer in self.layers:
            for array in (layer.weight, layer.bias, layer.multiplier):
                digest.update(array.tobytes())
        if (key := digest.digest()) not in _EXTREMES:
            _EXTREMES[key] = self._computed_extremes()
        return _EXTREMES[key]

    def _computed_extremes(self) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
        weight = self.layers[0].weight
        z_hat = np.random.default_rng(0).integers(-INPUT_LIMIT, INPUT_LIMIT + 1, (weight.shape[1], 3, 4))
        z_hat[..., 2:] = np.where(weight[0].sum((1, 2)) > 0, INPUT_LIMIT, -INPUT_LIMIT)[:, None, None]
        return z_hat, self(z_hat, arithmetic=np.int64)

    def self_check(self) -> None:
        """Raise `WeightsError` if this machine's float32 matrix products round integers."""
        z_hat, expected = self.extremes()
        if not np.array_equal(self(z_hat), expected):
            raise WeightsError(
                "NumPy's float32 matrix products are not exact over integers; refusing to code with them"
            )
