"""The few building blocks that every transform is made of."""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn

Pause = Callable[[], None]
"""Called between two layers, for whoever has to wait for them; see `models.progress`."""

NEGATIVE_SLOPE = 0.1  # of every LeakyReLU; the paper states none


def without_pause() -> None:
    """Go on at once."""


def run(layers: nn.Sequential, x: Tensor, pause: Pause) -> Tensor:
    """Apply layers one after the other, with a pause after each."""
    for layer in layers:
        x = layer(x)
        pause()
    return x


class ResidualBlock(nn.Module):
    """x + conv3x3(LeakyReLU(conv3x3(LeakyReLU(x)))), Zhou et al. 2018, Fig. 3a.

    The second convolution starts small. So a fresh block is nearly the identity, and deep stacks
    train at once.

    Args:
        channels: of input and output (N, channels, H, W).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.a = nn.Conv2d(channels, channels, 3, 1, 1)
        self.b = nn.Conv2d(channels, channels, 3, 1, 1)
        nn.init.zeros_(self.b.bias)  # type: ignore[arg-type]  # torch types the bias as optional
        self.b.weight.data.mul_(0.3)

    def forward(self, x: Tensor) -> Tensor:
        residual: Tensor = self.b(F.leaky_relu(self.a(F.leaky_relu(x, NEGATIVE_SLOPE)), NEGATIVE_SLOPE))
        return x + residual


def residual_blocks(channels: int, number: int) -> list[ResidualBlock]:
    """Make `number` blocks of (N, channels, H, W)."""
    return [ResidualBlock(channels) for _ in range(number)]


def down(channels_in: int, channels_out: int) -> nn.Sequential:
    """Make a layer from (N, channels_in, H, W) to (N, channels_out, H/2, W/2).

    It is space to depth, then a 1x1 convolution: nothing is computed only to be dropped.
    """
    return nn.Sequential(nn.PixelUnshuffle(2), nn.Conv2d(4 * channels_in, channels_out, 1))


def up(channels_in: int, channels_out: int, kernel: int = 1) -> nn.Sequential:
    """Make a layer from (N, channels_in, H, W) to (N, channels_out, 2H, 2W).

    It is a convolution at the low resolution, then depth to space.
    """
    return nn.Sequential(nn.Conv2d(channels_in, 4 * channels_out, kernel, 1, kernel // 2), nn.PixelShuffle(2))
