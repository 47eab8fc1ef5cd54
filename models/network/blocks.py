"""The few building blocks that every transform is made of.

Each has two forms. The plain form is for training, and for float32. The arranged form is for
weights that change no more: `models.network.precision.arranged` casts them to bfloat16 once, and
orders them so that pixels need not be.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Protocol, runtime_checkable

import torch
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


@runtime_checkable
class Arrangeable(Protocol):
    """A building block with a second form, for weights that change no more."""

    def arrange(self) -> None:
        """Take that form, for good. The block is on its device."""


def cast(x: Tensor, weight: Tensor) -> Tensor:
    """Convert an input to bfloat16 where its weights are; in training that is autocast's part."""
    return x.to(torch.bfloat16) if weight.dtype == torch.bfloat16 else x


class Convolution(nn.Conv2d):
    """A convolution, and what often follows it: LeakyReLU, or the addition of a residual."""

    def arrange(self) -> None:
        """Cast the weights to bfloat16 for good, in the order that the device computes in.

        For oneDNN that is its own, which it would make in every call. No other copy is kept.
        """
        self.to(torch.bfloat16)
        weight = self.weight.data.contiguous(memory_format=torch.channels_last)
        if _fuses(weight.device):
            weight = torch.ops.mkldnn._reorder_convolution_weight(
                weight, self.padding, self.stride, (1, 1), 1
            )
        self.weight = nn.Parameter(weight, requires_grad=False)

    @property
    def indexed_weight(self) -> Tensor:
        """The weights in the order of their indices (out, in, kernel, kernel)."""
        return self.weight.to_dense() if self.weight.is_mkldnn else self.weight

    def forward(self, x: Tensor, *, slope: float | None = None, add: Tensor | None = None) -> Tensor:
        """Convolve x (N, C, H, W).

        Args:
            x: the input; arranged, it is cast to bfloat16.
            slope: of a LeakyReLU that follows, or None.
            add: what is added to the result, in its shape; not together with `slope`.
        """
        weight = self.weight  # read once: in training it may be a product
        x = cast(x, weight)
        if weight.is_mkldnn:
            if not torch.is_grad_enabled():
                return _fused(x, weight, self.bias, self.stride, self.padding, slope, add)
            weight = weight.to_dense()
        y = F.conv2d(x, weight, self.bias, self.stride, self.padding)
        if slope is not None:
            y = F.leaky_relu(y, slope)
        return y if add is None else add + y


def _fused(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: tuple[int, ...],
    padding: tuple[int, ...] | str,
    slope: float | None,
    add: Tensor | None,
) -> Tensor:
    """Convolve, and let oneDNN apply what follows while the results are in its registers."""
    where = (padding, stride, (1, 1), 1)
    if add is not None:
        summed: Tensor = torch.ops.mkldnn._convolution_pointwise.binary(
            x, add, weight, bias, *where, "add", 1.0, None, [], ""
        )
        return summed
    activation = ("none", [], "") if slope is None else ("leaky_relu", [slope], "")
    activated: Tensor = torch.ops.mkldnn._convolution_pointwise(x, weight, bias, *where, *activation)
    return activated


@cache
def _fuses(device: torch.device) -> bool:
    """Tell if `_fused` is there and right.

    torch calls it private and may change it, so it is tried.
    """
    if device.type != "cpu":
        return False
    with torch.no_grad():
        x = torch.linspace(-1, 1, 16 * 64).view(1, 16, 8, 8).bfloat16()
        weight = torch.linspace(-1, 1, 16 * 16 * 9).view(16, 16, 3, 3).bfloat16()
        x, weight = (t.contiguous(memory_format=torch.channels_last) for t in (x, weight))
        expected = F.conv2d(x.float(), weight.float(), padding=1)
        try:
            activated = _fused(x, weight, None, (1, 1), (1, 1), 0.5, None)
            summed = _fused(x, weight, None, (1, 1), (1, 1), None, x)
        except (RuntimeError, AttributeError, NotImplementedError, TypeError):
            return False
        return all(
            torch.allclose(found.float(), wanted, rtol=0.02, atol=0.1)
            for found, wanted in ((activated, F.leaky_relu(expected, 0.5)), (summed, expected + x))
        )


class FoldingConvolution(Convolution):
    """Space to depth, then a convolution: from (N, C, H, W) to (N, channels_out, H/fold, W/fold).

    Arranged, it is one convolution with stride.

    Args:
        channels_in: C.
        channels_out: of the result.
        fold: pixels on a side that become channels of one place.
        kernel: of the convolution, at the low resolution.
    """

    def __init__(self, channels_in: int, channels_out: int, fold: int, kernel: int = 1) -> None:
        super().__init__(fold**2 * channels_in, channels_out, kernel, 1, kernel // 2)
        self.fold = fold

    def arrange(self) -> None:
        """Make the weights those of a convolution of the pixels themselves."""
        fold = self.fold
        out, _, kernel, _ = self.weight.shape
        weight = self.weight.data.view(out, -1, fold, fold, kernel, kernel).permute(0, 1, 4, 2, 5, 3)
        self.weight.data = weight.reshape(out, -1, kernel * fold, kernel * fold)
        self.stride = (fold, fold)
        self.padding = (kernel // 2 * fold, kernel // 2 * fold)
        self.fold = 1
        super().arrange()

    def forward(self, x: Tensor, *, slope: float | None = None, add: Tensor | None = None) -> Tensor:
        """Fold and convolve x (N, C, H, W), H and W multiples of `fold`."""
        return super().forward(F.pixel_unshuffle(x, self.fold) if self.fold > 1 else x, slope=slope, add=add)


class UnfoldingConvolution(Convolution):
    """A convolution, then depth to space: from (N, C, h, w) to (N, channels_out, fold h, fold w).

    Arranged, the channels of one row of pixels are neighbours: depth to space moves whole rows.

    Args:
        channels_in: C.
        channels_out: of the result.
        fold: pixels on a side that one place becomes.
        kernel: of the convolution, at the low resolution.
    """

    def __init__(self, channels_in: int, channels_out: int, fold: int, kernel: int = 1) -> None:
        super().__init__(channels_in, fold**2 * channels_out, kernel, 1, kernel // 2)
        self.fold = fold

    def arrange(self) -> None:
        """Order the outputs by row, column, channel."""
        for parameter in self.parameters():
            by_channel = parameter.data.view(-1, self.fold**2, *parameter.shape[1:])
            parameter.data = by_channel.transpose(0, 1).flatten(0, 1)
        super().arrange()

    def forward(self, x: Tensor, *, slope: float | None = None, add: Tensor | None = None) -> Tensor:
        """Convolve and unfold x (N, C, h, w); `add` is in the shape before unfolding."""
        y = super().forward(x, slope=slope, add=add)
        return (
            unfolded(y, self.fold) if self.weight.dtype == torch.bfloat16 else F.pixel_shuffle(y, self.fold)
        )


def unfolded(x: Tensor, fold: int) -> Tensor:
    """Move depth to space: (N, fold² C, h, w) to (N, C, fold h, fold w), channels last in memory.

    The channels are ordered by row, column, channel. So whole rows of pixels move at once.
    """
    n, channels, height, width = x.shape
    rows = x.permute(0, 2, 3, 1).reshape(n, height, width, fold, channels // fold).transpose(2, 3)
    return rows.reshape(n, height * fold, width * fold, channels // fold**2).permute(0, 3, 1, 2)


def folded(x: Tensor, fold: int) -> Tensor:
    """Undo `unfolded`."""
    n, channels, height, width = x.shape
    rows = (
        x.permute(0, 2, 3, 1).reshape(n, height // fold, fold, width // fold, fold * channels).transpose(2, 3)
    )
    return rows.reshape(n, height // fold, width // fold, fold**2 * channels).permute(0, 3, 1, 2)


class ResidualBlock(nn.Module):
    """x + conv3x3(LeakyReLU(conv3x3(LeakyReLU(x)))), Zhou et al. 2018, Fig. 3a.

    The second convolution starts small. So a fresh block is nearly the identity, and deep stacks
    train at once.

    Args:
        channels: of input and output (N, channels, H, W).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.a = Convolution(channels, channels, 3, 1, 1)
        self.b = Convolution(channels, channels, 3, 1, 1)
        nn.init.zeros_(self.b.bias)  # type: ignore[arg-type]  # torch types the bias as optional
        self.b.weight.data.mul_(0.3)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.b(self.a(F.leaky_relu(x, NEGATIVE_SLOPE), slope=NEGATIVE_SLOPE), add=x)
        return y


def residual_blocks(channels: int, number: int) -> list[ResidualBlock]:
    """Make `number` blocks of (N, channels, H, W)."""
    return [ResidualBlock(channels) for _ in range(number)]


def down(channels_in: int, channels_out: int, fold: int = 2, kernel: int = 1) -> nn.Sequential:
    """Make a layer from (N, channels_in, H, W) to (N, channels_out, H/fold, W/fold).

    It is space to depth, then a convolution: nothing is computed only to be dropped.
    """
    # The identity keeps the place that weights files know the convolution by.
    return nn.Sequential(nn.Identity(), FoldingConvolution(channels_in, channels_out, fold, kernel))


def up(channels_in: int, channels_out: int, kernel: int = 1) -> nn.Sequential:
    """Make a layer from (N, channels_in, H, W) to (N, channels_out, 2H, 2W).

    It is a convolution at the low resolution, then depth to space.
    """
    return nn.Sequential(UnfoldingConvolution(channels_in, channels_out, 2, kernel))
