"""The scale decoder for batches on a device [format]: `models.entropy.scale_decoder` in torch.

It gives the same integers on every device. Every sum provably stays within 2**24, where float32
holds all integers. So float32 matrix products are exact in any order of summation, on any hardware
that does not round its inputs (to TF32 or bfloat16); and int8 products are where they add into 32
bits (`models.entropy.layer_torch`).

Each convolution is written as one matrix product over all places and their 3x3 neighbourhoods, for
which no backend can choose Winograd or FFT. `self_check` holds the backend to all this when a model
is loaded.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models import threads
from models.entropy.layer_torch import HELD_LESS, RowLayer, kind_on
from models.entropy.requantisation import UNIT, Integers, offset_of
from models.entropy.scale_decoder import (
    ACTIVATION_LIMIT,
    INPUT_LIMIT,
    RAW_LIMIT,
    IntegerScaleDecoder,
    tile_by_tile,
)
from models.errors import WeightsError
from models.progress import UNINTERRUPTED, Progress


@dataclass(frozen=True, slots=True, eq=False)
class ExactLayer:
    """One 3x3 convolution; its attributes are those of `IntegerLayer`."""

    weight: Tensor
    bias: Tensor
    multiplier: Tensor


@dataclass(frozen=True, eq=False)
class ExactScaleDecoder:
    """The integers of one model on one device; its attributes are those of `IntegerScaleDecoder`.

    Raises:
        WeightsError: sums that would not be exact.
    """

    layers: tuple[ExactLayer, ExactLayer, ExactLayer]
    lookup: Tensor

    def __post_init__(self) -> None:
        self.integer()  # which refuses inexact sums

    @torch.no_grad()
    def __call__(self, z_hat: Tensor) -> Tensor:
        """Compute table indices uint8 (N, M, 4 h, 4 w), channels last in memory.

        Args:
            z_hat: (N, C, h, w), integers in any type.
        """
        first, second, third = self._prepared
        kind = first.weight.dtype
        zero = -HELD_LESS if kind is torch.int8 else 0  # in the hidden layers
        with torch.autocast(z_hat.device.type, enabled=False):
            x = z_hat.movedim(1, -1).clamp(-INPUT_LIMIT, INPUT_LIMIT).to(kind)
            x = _shuffled(_convolved(first, x, 0))
            x = _shuffled(_convolved(second, x, zero))
            x = _convolved(third, x, zero)
            return self.lookup.index_select(0, x.int().flatten()).view(x.shape).movedim(-1, 1)

    @cached_property
    def _prepared(self) -> tuple[RowLayer, RowLayer, RowLayer]:
        kind = kind_on(self.lookup.device)
        first, second, third = self.layers
        return (
            _row_layer(first, ACTIVATION_LIMIT, kind, hidden=False),
            _row_layer(second, ACTIVATION_LIMIT, kind, hidden=True),
            _row_layer(third, RAW_LIMIT, kind, hidden=True),
        )

    def to(self, device: torch.device) -> ExactScaleDecoder:
        """Copy the decoder to `device`."""
        first, second, third = (
            ExactLayer(layer.weight.to(device), layer.bias.to(device), layer.multiplier.to(device))
            for layer in self.layers
        )
        return ExactScaleDecoder((first, second, third), self.lookup.to(device))

    def to_arrays(self) -> dict[str, Tensor]:
        """Make the tensors of the weights file."""
        arrays = {"scale.lookup": self.lookup}
        for number, layer in enumerate(self.layers):
            arrays |= {f"scale.{number}.weight": layer.weight, f"scale.{number}.bias": layer.bias}
            arrays[f"scale.{number}.multiplier"] = layer.multiplier
        return arrays

    @classmethod
    def from_arrays(cls, arrays: dict[str, Tensor]) -> ExactScaleDecoder:
        """Undo `to_arrays`.

        Raises:
            KeyError: a tensor is missing.
            WeightsError: sums that would not be exact.
        """

        def layer(number: int) -> ExactLayer:
            return ExactLayer(
                *(arrays[f"scale.{number}.{part}"] for part in ("weight", "bias", "multiplier"))
            )

        return cls((layer(0), layer(1), layer(2)), arrays["scale.lookup"])

    def integer(self) -> IntegerScaleDecoder:
        """Convert to the definition, in NumPy."""
        return IntegerScaleDecoder.from_arrays(
            {name: tensor.cpu().numpy() for name, tensor in self.to_arrays().items()}
        )

    def self_check(self) -> None:
        """Raise `WeightsError` if this backend rounds integers: TF32, bfloat16, a faulty device."""
        z_hat, expected = self.integer().extremes()
        indices = self(torch.from_numpy(z_hat)[None].to(self.lookup.device))[0].cpu().numpy()
        if not np.array_equal(indices, expected):
            device = self.lookup.device
            raise WeightsError(
                f"float32 matrix products on {device} are not exact over integers; refusing to code"
            )


@dataclass(frozen=True, slots=True, eq=False)
class PictureScaleDecoder:
    """The decoder of one picture at a time where torch is loaded: what NumPy's is, in less time.

    Attributes:
        exact: on a CPU.
    """

    exact: ExactScaleDecoder

    def __call__(self, z_hat: Integers, *, progress: Progress = UNINTERRUPTED) -> NDArray[np.uint8]:
        """See `IntegerScaleDecoder`."""

        def of_tile(z: Integers) -> NDArray[np.uint8]:
            indices: NDArray[np.uint8] = self.exact(torch.from_numpy(z)[None])[0].numpy()
            return indices

        with threads.worth(0, of=1):  # a tile is small
            return tile_by_tile(of_tile, z_hat, len(self.exact.layers[2].weight), progress)

    def self_check(self) -> None:
        """See `ExactScaleDecoder.self_check`."""
        self.exact.self_check()


def _row_layer(layer: ExactLayer, limit: int, kind: torch.dtype, *, hidden: bool) -> RowLayer:
    """Make a convolution one over rows of neighbourhoods, see `_convolved`.

    Outputs in 0..ACTIVATION_LIMIT are put in the order that `_shuffled` takes.
    """
    weight = layer.weight.permute(0, 2, 3, 1).flatten(1)
    ratio = layer.multiplier.double() * UNIT
    offset = offset_of(layer.bias, ratio)
    if limit == ACTIVATION_LIMIT:
        # PixelShuffle counts channels, then rows and columns within a cell of 2x2.
        order = torch.arange(len(weight), device=weight.device).view(-1, 4).t().flatten()
        weight, ratio, offset = weight[order], ratio[order], offset[order]
    return RowLayer.of(weight, ratio, offset, (0, limit), kind, hidden=hidden)


def _convolved(layer: RowLayer, x: Tensor, zero: int) -> Tensor:
    """Run a 3x3 convolution over x (N, h, w, in), beyond whose border is `zero`: (N, h, w, out)."""
    batch, rows, columns, channels = x.shape
    padded = x.new_full((batch, rows + 2, columns + 2, channels), zero)
    padded[:, 1:-1, 1:-1] = x
    image, row, column, _ = padded.stride()
    # Three neighbours in a row lie one behind the other.
    windows = padded.as_strided((batch, rows, columns, 3, 3 * channels), (image, row, column, row, 1))
    return layer(windows.reshape(-1, 9 * channels)).view(batch, rows, columns, -1)


def _shuffled(x: Tensor) -> Tensor:
    """Move depth to space: (N, h, w, 2 2 c) to (N, 2 h, 2 w, c)."""
    batch, rows, columns, _ = x.shape
    cells = x.view(batch, rows, columns, 2, 2, -1)
    return cells.transpose(2, 3).reshape(batch, 2 * rows, 2 * columns, -1)
