"""models.network.dct"""

from __future__ import annotations

import pytest
import torch
from torch import nn

from models.network.dct import BLOCK, LinearAnalysis, LinearSynthesis, dct_basis, dct_order
from models.network.precision import arranged, placed

EVERY_CHANNEL = 3 * BLOCK**2


@pytest.mark.parametrize("size", [4, 16])
def test_the_basis_is_orthonormal(size: int) -> None:
    basis = dct_basis(size)
    torch.testing.assert_close(basis @ basis.T, torch.eye(size), atol=1e-6, rtol=0)


def test_the_order_takes_every_frequency_once_low_ones_and_luma_first() -> None:
    order = dct_order(EVERY_CHANNEL)
    assert len(set(order)) == EVERY_CHANNEL
    assert order[0] == (0, 0, 0)
    assert dct_order(100) == order[:100]
    for plane in range(3):
        diagonals = [i + j for p, i, j in order if p == plane]
        assert diagonals == sorted(diagonals)
    assert order.index((0, 3, 2)) < order.index((1, 0, 0)) < order.index((0, 4, 3))


@torch.inference_mode()
def test_synthesis_undoes_analysis() -> None:
    x = torch.rand(2, 3, 32, 48)
    y = LinearAnalysis(EVERY_CHANNEL)(x)
    assert y.shape == (2, EVERY_CHANNEL, 2, 3)
    assert (
        LinearSynthesis(EVERY_CHANNEL)(y) - x
    ).abs().max() < 0.005  # JFIF's coefficients have three digits


@torch.inference_mode()
def test_grey_pictures_have_no_chroma() -> None:
    grey = torch.rand(1, 1, 32, 32).expand(1, 3, 32, 32)
    luma = torch.tensor([plane == 0 for plane, _, _ in dct_order(EVERY_CHANNEL)])
    y = LinearAnalysis(EVERY_CHANNEL)(grey)
    assert y[:, ~luma].abs().max() < 1e-5
    torch.testing.assert_close(y[:, luma].square().sum(), grey[:, 0].square().sum())


@torch.inference_mode()
def test_few_channels_hold_what_is_smooth() -> None:
    light = torch.linspace(0, 1, 32)[None, None, :, None] * torch.tensor([0.9, 0.5, 0.3])[:, None, None]
    x = light.expand(1, 3, 32, 32)
    assert (LinearSynthesis(100)(LinearAnalysis(100)(x)) - x).square().mean() < 1e-4


@pytest.mark.parametrize(("height", "width"), [(304, 16), (16, 304), (304, 32), (16, 16)])
def test_bfloat16_reads_nothing_but_the_picture(height: int, width: int) -> None:
    """Freed memory full of NaN must not show, as it did in a single column of blocks on a CPU with
    AMX.
    """
    plain = placed(LinearAnalysis(320), torch.device("cpu")).requires_grad_(False)
    fast = arranged(plain, torch.device("cpu"), bfloat16=True)
    for _ in range(10):
        x = torch.rand(1, 3, height, width).contiguous(memory_format=torch.channels_last)
        for size in [2**k for k in range(6, 19)] * 8:
            torch.full((size,), float("nan"))
        expected = nn.functional.conv2d(x.double(), plain.weight.double(), stride=16)
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
            torch.testing.assert_close(plain(x).double(), expected, atol=0.1, rtol=0.02)
        with torch.inference_mode():
            torch.testing.assert_close(fast(x).double(), expected, atol=0.1, rtol=0.02)
