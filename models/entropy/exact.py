"""The scale decoder in integers [format]: z_hat to one Laplace table index per element of y, the same on every device.

    z_hat (int, clamped to +-127) --conv--> requantise 0..255 --shuffle--> conv --> requantise 0..255 --shuffle--> conv
        --> requantise 0..1023 --> look-up --> table index 0..63

int8 weights, uint8 activations, int32 biases; requantisation by multiply and shift. Every sum provably stays within 2**24, where float32
holds all integers, so that float32 matrix products are exact in any order of summation and on any hardware that does not round inputs
(TF32, bfloat16). Convolutions are written as nine shifted matrix products: no backend can choose Winograd or FFT for those.
`self_check` holds the backend to it when a model is loaded.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from models.errors import WeightsError

EXACT = 1 << 24  # float32 holds every integer up to here
INPUT_LIMIT = 127
ACTIVATION_LIMIT = 255
RAW_LIMIT = 1023  # of the last requantisation, before the look-up
SHIFT = 24


@dataclass(frozen=True, slots=True, eq=False)
class ExactLayer:
    """One 3x3 convolution over integers with its requantisation.

    Attributes:
        weight: int8 (out, in, 3, 3).
        bias: int32 (out,), in units of the accumulator.
        multiplier: int32 (out,); output = clamp((sum * multiplier + 2**23) >> 24, 0, limit).
    """

    weight: Tensor
    bias: Tensor
    multiplier: Tensor

    def worst_sum(self, input_limit: int) -> int:
        """A bound on the magnitude of every partial sum."""
        return int((self.weight.long().abs().sum((1, 2, 3)) * input_limit + self.bias.long().abs()).max())

    def __call__(self, x: Tensor, limit: int) -> Tensor:
        """x (N, h, w, in) float32 holding integers, to (N, h, w, out) float32 holding integers in [0, limit]."""
        n, h, w, channels = x.shape
        padded = F.pad(x, (0, 0, 1, 1, 1, 1))
        kernel = self.weight.float().permute(2, 3, 1, 0)
        total = self.bias.float().expand(n * h * w, -1)
        for dy in range(3):
            for dx in range(3):
                window = padded[:, dy : dy + h, dx : dx + w].reshape(-1, channels)
                total = torch.addmm(total, window, kernel[dy, dx])
        scaled = (total.long() * self.multiplier.long() + (1 << (SHIFT - 1))) >> SHIFT
        return scaled.clamp_(0, limit).float().view(n, h, w, -1)


def _shuffle(x: Tensor) -> Tensor:
    """Depth to space by two, channels last: as torch's PixelShuffle."""
    return F.pixel_shuffle(x.permute(0, 3, 1, 2), 2).permute(0, 2, 3, 1)


@dataclass(frozen=True, slots=True, eq=False)
class ExactScaleDecoder:
    """Three layers and the look-up (1024,) uint8 from requantised output to table index."""

    layers: tuple[ExactLayer, ExactLayer, ExactLayer]
    lookup: Tensor

    def __post_init__(self) -> None:
        limits = (INPUT_LIMIT, ACTIVATION_LIMIT, ACTIVATION_LIMIT)
        for number, (layer, limit) in enumerate(zip(self.layers, limits, strict=True)):
            if layer.worst_sum(limit) >= EXACT:
                raise WeightsError(f"layer {number} of the scale decoder can exceed 2**24: its sums would not be exact in float32")

    @torch.no_grad()
    def __call__(self, z_hat: Tensor) -> Tensor:
        """z_hat (N, C, h, w), integers in any type, to table indices uint8 (N, M, 4 h, 4 w)."""
        first, second, third = self.layers
        with torch.autocast(z_hat.device.type, enabled=False):
            x = z_hat.float().clamp(-INPUT_LIMIT, INPUT_LIMIT).permute(0, 2, 3, 1)
            x = _shuffle(first(x, ACTIVATION_LIMIT))
            x = _shuffle(second(x, ACTIVATION_LIMIT))
            x = third(x, RAW_LIMIT)
            return self.lookup[x.long()].permute(0, 3, 1, 2)

    def to(self, device: torch.device) -> ExactScaleDecoder:
        """The same decoder with its tensors on `device`."""
        first, second, third = (ExactLayer(*(part.to(device) for part in (x.weight, x.bias, x.multiplier))) for x in self.layers)
        return ExactScaleDecoder((first, second, third), self.lookup.to(device))

    def to_arrays(self) -> dict[str, Tensor]:
        """Tensors for the weights file."""
        arrays = {"scale.lookup": self.lookup}
        for number, layer in enumerate(self.layers):
            arrays |= {f"scale.{number}.weight": layer.weight, f"scale.{number}.bias": layer.bias}
            arrays[f"scale.{number}.multiplier"] = layer.multiplier
        return arrays

    @classmethod
    def from_arrays(cls, arrays: dict[str, Tensor]) -> ExactScaleDecoder:
        """The inverse of `to_arrays`."""

        def layer(number: int) -> ExactLayer:
            return ExactLayer(*(arrays[f"scale.{number}.{part}"] for part in ("weight", "bias", "multiplier")))

        return cls((layer(0), layer(1), layer(2)), arrays["scale.lookup"])

    def self_check(self) -> None:
        """Compare this backend with integer arithmetic in NumPy on inputs that drive the sums to their extremes.

        Raises:
            WeightsError: the backend is not exact (TF32, reduced-precision float32, a faulty device); streams would not decode.
        """
        channels = self.layers[0].weight.shape[1]
        rng = np.random.default_rng(0)
        z = rng.integers(-INPUT_LIMIT, INPUT_LIMIT + 1, (2, channels, 3, 2))
        z[1] = np.where(self.layers[0].weight[0].sum((1, 2)).cpu().numpy() > 0, INPUT_LIMIT, -INPUT_LIMIT)[:, None, None]
        expected = reference_indices(self, z)
        indices = self(torch.from_numpy(z).to(self.lookup.device)).cpu().numpy()
        if not np.array_equal(indices, expected):
            raise WeightsError(f"float32 matrix products on {self.lookup.device} are not exact over integers; refusing to code with them")


def reference_indices(decoder: ExactScaleDecoder, z_hat: NDArray[np.int64]) -> NDArray[np.uint8]:
    """The definition, in 64-bit integers: z_hat (N, C, h, w) to table indices (N, M, 4 h, 4 w)."""
    x = z_hat.clip(-INPUT_LIMIT, INPUT_LIMIT)
    for number, layer in enumerate(decoder.layers):
        weight, bias, multiplier = (tensor.cpu().numpy().astype(np.int64) for tensor in (layer.weight, layer.bias, layer.multiplier))
        h, w = x.shape[2:]
        padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
        total = sum(
            np.einsum("oc,nchw->nohw", weight[:, :, dy, dx], padded[:, :, dy : dy + h, dx : dx + w]) for dy in range(3) for dx in range(3)
        )
        total = total + bias[:, None, None]
        x = (total * multiplier[:, None, None] + (1 << (SHIFT - 1))) >> SHIFT
        x = x.clip(0, RAW_LIMIT if number == 2 else ACTIVATION_LIMIT)
        if number < 2:
            n, c, h, w = x.shape
            x = x.reshape(n, c // 4, 2, 2, h, w).transpose(0, 1, 4, 2, 5, 3).reshape(n, c // 4, 2 * h, 2 * w)
    indices: NDArray[np.uint8] = decoder.lookup.cpu().numpy()[x]
    return indices
