"""models.network.blocks"""

from __future__ import annotations

import pytest
import torch

from models.network.blocks import (
    Convolution,
    FoldingConvolution,
    UnfoldingConvolution,
    down,
    folded,
    residual_blocks,
    unfolded,
    up,
)
from models.network.precision import arranged

CPU = torch.device("cpu")


@torch.inference_mode()
def test_fresh_blocks_are_nearly_the_identity() -> None:
    x = torch.randn(2, 16, 12, 10)
    (block,) = residual_blocks(16, 1)
    assert (block(x) - x).norm() < 0.2 * x.norm()
    deep = torch.nn.Sequential(*residual_blocks(16, 6))
    assert (deep(x) - x).norm() < 0.5 * x.norm()


@torch.inference_mode()
@pytest.mark.parametrize("kernel", [1, 3])
def test_down_halves_and_up_doubles(kernel: int) -> None:
    x = torch.randn(2, 3, 8, 6)
    assert down(3, 7)(x).shape == (2, 7, 4, 3)
    assert up(3, 7, kernel)(x).shape == (2, 7, 16, 12)


@torch.inference_mode()
def test_down_and_up_see_no_further_than_a_block_of_four() -> None:
    x = torch.zeros(1, 1, 8, 8)
    spike = x.clone()
    spike[..., 2, 5] = 1.0
    layer = torch.nn.Sequential(down(1, 4), up(4, 1))
    rows, columns = torch.nonzero((layer(spike) - layer(x))[0, 0]).T
    assert set(rows.tolist()) <= {2, 3}
    assert set(columns.tolist()) <= {4, 5}


@pytest.mark.parametrize(
    "plain",
    [
        Convolution(16, 32, 3, 1, 1),
        FoldingConvolution(3, 32, fold=4, kernel=3),
        FoldingConvolution(16, 32, fold=2),
        UnfoldingConvolution(16, 3, fold=4, kernel=3),
        UnfoldingConvolution(16, 12, fold=2),
        up(16, 12, kernel=3),
        *residual_blocks(16, 1),
    ],
    ids=["convolution", "stem", "down", "to pixels", "up", "up 3x3", "residual block"],
)
@pytest.mark.parametrize("with_gradient", [False, True], ids=["fused", "with gradient"])
def test_an_arranged_layer_computes_what_the_plain_one_does(
    plain: torch.nn.Module, with_gradient: bool
) -> None:
    """The gradient needs operations apart, and so do devices without the fused ones."""
    channels = 3 if isinstance(plain, FoldingConvolution) and plain.weight.shape[1] == 48 else 16
    x = torch.rand(2, channels, 16, 24).contiguous(memory_format=torch.channels_last) - 0.5
    x.requires_grad_(with_gradient)
    with torch.set_grad_enabled(with_gradient):
        expected = plain(x)
        found = arranged(plain, CPU, bfloat16=True)(x.bfloat16())
    assert found.dtype == torch.bfloat16
    assert found.is_contiguous(memory_format=torch.channels_last) or with_gradient
    torch.testing.assert_close(found.float(), expected, atol=0.01, rtol=0.02)
    if with_gradient:
        expected_gradient, gradient = (torch.autograd.grad(y.sum(), x)[0] for y in (expected, found))
        torch.testing.assert_close(gradient, expected_gradient, atol=0.02, rtol=0.05)


@torch.inference_mode()
def test_what_follows_an_arranged_convolution_is_applied() -> None:
    plain = Convolution(16, 16, 3, 1, 1)
    fast = arranged(plain, CPU, bfloat16=True)
    x = (torch.rand(1, 16, 8, 8) - 0.5).contiguous(memory_format=torch.channels_last)
    y = plain(x)
    torch.testing.assert_close(fast(x, slope=0.5).float(), torch.where(y > 0, y, y / 2), atol=0.01, rtol=0.02)
    torch.testing.assert_close(fast(x, add=x.bfloat16()).float(), x + y, atol=0.01, rtol=0.02)


@torch.inference_mode()
def test_weights_files_order_channels_as_pixel_shuffle_does() -> None:
    x = torch.rand(2, 12, 4, 6)
    (convolution,) = (layer for layer in down(3, 5) if isinstance(layer, FoldingConvolution))
    shuffled = torch.nn.functional.pixel_shuffle(x, 2)
    expected = torch.nn.functional.conv2d(x, convolution.weight, convolution.bias)
    assert torch.equal(convolution(shuffled), expected)


def test_unfolding_undoes_folding() -> None:
    x = torch.rand(2, 3, 8, 12).contiguous(memory_format=torch.channels_last)
    assert folded(x, 4).shape == (2, 48, 2, 3)
    assert torch.equal(unfolded(folded(x, 4), 4), x)
