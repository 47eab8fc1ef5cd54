"""The bare network: the transforms as version 0.3.0 ran them, the yardstick for all around them.

Plain PyTorch, one call after the other, float32 weights under autocast. It reads the weights'
files by itself and calls nothing of `models.network`, so that it stays what it was when the codec's
own way of running the network becomes faster. A test holds that both compute the same.
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import safe_open
from torch import Tensor

from models.network.dct import BLOCK
from models.network.postprocess import AC_FACTOR, DC_FACTORS, RESIDUAL_FACTOR, BlockTransform
from models.network.precision import transform_autocast
from models.postprocess import model as post_model
from models.weights import registry

SLOPE = 0.1  # of every LeakyReLU
FOLD = 4  # pixels on a side that the post-processor makes channels of


class Bare:
    """The four transforms of one profile, on tensors that are ready.

    Args:
        profile: one of `registry.available()` with a post-processor of its name.
        device: where they run.
        bfloat16: compute the convolutions in bfloat16, else in float32.
    """

    def __init__(self, profile: str, *, device: str = "cpu", bfloat16: bool) -> None:
        self._device = torch.device(device)
        self._bfloat16 = bfloat16
        self._weights = _tensors(registry.weights(profile), "network.", self._device)
        self._weights |= {
            f"post.{name}": tensor
            for name, tensor in _tensors(post_model.weights(profile), "", self._device).items()
        }
        self._basis = BlockTransform(FOLD).basis.to(self._device)
        amplification = torch.full((3, FOLD**2), AC_FACTOR)
        amplification[:, 0] = torch.tensor(DC_FACTORS)
        self._amplification = amplification.view(1, -1, 1, 1).to(self._device)

    def autocast(self) -> torch.autocast:
        """The arithmetic of the convolutions; every transform is called within it."""
        return transform_autocast(self._device, bfloat16=self._bfloat16)

    def g_a(self, x: Tensor) -> Tensor:
        """Transform x (N, 3, H, W) in [0, 1], H and W multiples of 16, to y (N, M, H/16, W/16)."""
        x = x - 0.5
        f4 = self._conv(F.pixel_unshuffle(x, 4), "g_a.stage4.1")
        f4 = self._blocks(f4, "g_a.stage4", 2)
        f8 = self._blocks(self._conv(F.pixel_unshuffle(f4, 2), "g_a.stage8.0.1"), "g_a.stage8", 1)
        f16 = self._blocks(self._conv(F.pixel_unshuffle(f8, 2), "g_a.stage16.0.1"), "g_a.stage16", 1)
        side4 = self._conv(F.pixel_unshuffle(f4, 4), "g_a.side4.1")
        side8 = self._conv(F.pixel_unshuffle(f8, 2), "g_a.side8.1")
        fused = self._conv(torch.cat([side4, side8, f16], 1), "g_a.fuse")
        return fused + F.conv2d(x, self._weights["g_a.linear.weight"], stride=BLOCK)

    def h_a(self, scaled: Tensor) -> Tensor:
        """Transform y in quantiser steps (N, M, h, w), h, w multiples of 4, to z, not rounded."""
        x = F.leaky_relu(self._conv(scaled, "h_a.0"), SLOPE)
        x = F.leaky_relu(self._conv(F.pixel_unshuffle(x, 2), "h_a.2.1"), SLOPE)
        x = F.leaky_relu(self._conv(x, "h_a.4"), SLOPE)
        return self._conv(F.pixel_unshuffle(x, 2), "h_a.6.1").float()

    def g_s(self, y_hat: Tensor) -> Tensor:
        """Transform y_hat (N, M, h, w) to x_hat (N, 3, 16 h, 16 w)."""
        x = self._blocks(self._conv(y_hat, "g_s.stage16.0"), "g_s.stage16", 1)
        x = F.pixel_shuffle(self._conv(x, f"g_s.stage16.{self._after('g_s.stage16', 1)}.0"), 2)
        x = self._blocks(x, "g_s.stage8", 0)
        x = F.pixel_shuffle(self._conv(x, f"g_s.stage8.{self._after('g_s.stage8', 0)}.0"), 2)
        x = self._blocks(x, "g_s.stage4", 0)
        x = F.pixel_shuffle(self._conv(x, f"g_s.stage4.{self._after('g_s.stage4', 0)}"), 4)
        base = F.conv_transpose2d(y_hat, self._weights["g_s.linear.weight"], stride=BLOCK)
        return (x + base + 0.5).float()

    def post(self, x_hat: Tensor, condition: Tensor) -> Tensor:
        """Improve x_hat (N, 3, H, W), H and W multiples of 4; condition (N, 2 * kinds)."""
        hidden = F.linear(
            condition, self._weights["post.modulation.0.weight"], self._weights["post.modulation.0.bias"]
        )
        modulation = F.linear(
            F.leaky_relu(hidden, SLOPE),
            self._weights["post.modulation.2.weight"],
            self._weights["post.modulation.2.bias"],
        )
        blocks = self._after("post.blocks", 0)
        modulation = modulation.view(len(x_hat), blocks + 1, 2, -1, 1, 1)
        folded = F.conv2d(x_hat - 0.5, self._basis, stride=FOLD) * self._amplification
        x = self._conv(folded, "post.first")
        for number in range(blocks):
            x = self._block(_modulated(x, modulation[:, number]), f"post.blocks.{number}")
        residual = self._conv(_modulated(x, modulation[:, -1]), "post.last")
        improved = F.conv_transpose2d(residual * RESIDUAL_FACTOR, self._basis, stride=FOLD)
        return (x_hat + improved).float()

    def scaled(self, y: Tensor, anchor: int) -> Tensor:
        """Give y (N, M, h, w) in the quantiser steps of an anchor of the gain axis."""
        return y * self._weights["gain"][anchor].exp()[:, None, None]

    def _conv(self, x: Tensor, name: str) -> Tensor:
        weight = self._weights[f"{name}.weight"]
        return F.conv2d(x, weight, self._weights[f"{name}.bias"], padding=weight.shape[-1] // 2)

    def _block(self, x: Tensor, name: str) -> Tensor:
        inner = self._conv(F.leaky_relu(x, SLOPE), f"{name}.a")
        return x + self._conv(F.leaky_relu(inner, SLOPE), f"{name}.b")

    def _blocks(self, x: Tensor, stage: str, first: int) -> Tensor:
        for number in range(first, self._after(stage, first)):
            x = self._block(x, f"{stage}.{number}")
        return x

    def _after(self, stage: str, first: int) -> int:
        """Number of the layer behind a stage's residual blocks, whose first has number `first`."""
        number = first
        while f"{stage}.{number}.a.weight" in self._weights:
            number += 1
        return number


def _tensors(path: Path, prefix: str, device: torch.device) -> dict[str, Tensor]:
    """Read the float tensors whose names begin so; filters are channels last in memory."""
    found = {}
    with safe_open(path, "pt") as file:
        for name in file.keys():  # noqa: SIM118  # not a mapping
            tensor = file.get_tensor(name)
            if name.startswith(prefix) and tensor.is_floating_point():
                tensor = tensor.float().to(device)
                if tensor.dim() == 4:
                    tensor = tensor.contiguous(memory_format=torch.channels_last)
                found[name.removeprefix(prefix)] = tensor
    return found


def _modulated(x: Tensor, modulation: Tensor) -> Tensor:
    return torch.addcmul(x + modulation[:, 1], x, modulation[:, 0])
