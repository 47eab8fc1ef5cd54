"""The scale decoder for batches on a device [format]: `models.entropy.scale_decoder` in torch.

It gives the same integers on every device. Every sum provably stays within 2**24, where float32
holds all integers. So float32 matrix products are exact in any order of summation, on any hardware
that does not round its inputs (to TF32 or bfloat16).

Each convolution is written as one matrix product over all places and their 3x3 neighbourhoods, for
which no backend can choose Winograd or FFT. `self_check` holds the backend to all this when a model
is loaded.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from models.entropy.requantisation import UNIT, offset_of, requantised
from models.entropy.scale_decoder import (
    ACTIVATION_LIMIT,
    INPUT_LIMIT,
    RAW_LIMIT,
    IntegerScaleDecoder,
)
from models.errors import WeightsError


@dataclass(frozen=True, slots=True, eq=False)
class ExactLayer:
    """One 3x3 convolution; its attributes are those of `IntegerLayer`."""

    weight: Tensor
    bias: Tensor
    multiplier: Tensor

    def __call__(self, x: Tensor, limit: int) -> Tensor:
        """Compute (out, N, h, w) in [0, limit] from x (in, N, h, w): integers held in float32."""
        windows = F.pad(x, (1, 1, 1, 1)).unfold(2, 3, 1).unfold(3, 3, 1).permute(0, 4, 5, 1, 2, 3)
        kernel = self.weight.flatten(1).float()
        total = torch.mm(kernel, windows.reshape(kernel.shape[1], -1))
        ratio = self.multiplier.double()[:, None] * UNIT
        scaled = requantised(total, ratio, offset_of(self.bias[:, None], ratio), 0, limit)
        return scaled.view(-1, *x.shape[1:])


def _shuffle(x: Tensor) -> Tensor:
    """Move depth to space: (4 c, N, h, w) to (c, N, 2 h, 2 w)."""
    return F.pixel_shuffle(x.transpose(0, 1), 2).transpose(0, 1)


@dataclass(frozen=True, slots=True, eq=False)
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
        """Compute table indices uint8 (N, M, 4 h, 4 w) from z_hat (N, C, h, w).

        z_hat holds integers in any type.
        """
        first, second, third = self.layers
        with torch.autocast(z_hat.device.type, enabled=False):
            x = z_hat.float().clamp(-INPUT_LIMIT, INPUT_LIMIT).transpose(0, 1)
            x = _shuffle(first(x, ACTIVATION_LIMIT))
            x = _shuffle(second(x, ACTIVATION_LIMIT))
            x = third(x, RAW_LIMIT)
            return self.lookup.index_select(0, x.int().flatten()).view(x.shape).transpose(0, 1)

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
