"""PSNR and MS-SSIM agree with their definitions and the reference implementation, and can be
trained on.
"""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from models.metrics import decibels, ms_ssim, psnr


def picture(height: int, width: int) -> Tensor:
    """(1, 3, H, W) of smooth waves, the same on every machine."""
    row, column = torch.arange(height)[:, None], torch.arange(width)[None]
    planes = [
        0.5 + 0.25 * torch.sin(row * f / 7 + column / 11) + 0.2 * torch.cos(column * f / 3 - row / 5)
        for f in (1.0, 1.7, 2.3)
    ]
    return torch.stack(planes)[None].clamp(0, 1)


def damaged(x: Tensor, strength: float) -> Tensor:
    """`x` with a dense deterministic pattern on it."""
    row, column = torch.arange(x.shape[2])[:, None], torch.arange(x.shape[3])[None]
    return (x + strength * ((row * 7919 + column * 104729) % 97 / 96 - 0.5)).clamp(0, 1)


@pytest.mark.parametrize(
    ("height", "width", "strength", "expected"),
    [
        (176, 176, 0.05, 0.9993913),
        (176, 176, 0.3, 0.9812897),
        (176, 176, 1.0, 0.8671162),
        (161, 203, 0.05, 0.9993944),  # odd at several scales
        (161, 203, 0.3, 0.9813802),
        (161, 203, 1.0, 0.8676692),
    ],
)
def test_ms_ssim_equals_pytorch_msssim(height: int, width: int, strength: float, expected: float) -> None:
    """Expected: pytorch-msssim 1.0.0, ms_ssim(data_range=1)."""
    x = picture(height, width)
    assert float(ms_ssim(damaged(x, strength), x)) == pytest.approx(expected, abs=1e-5)


def test_ms_ssim_of_a_blurred_picture_equals_pytorch_msssim() -> None:
    x = picture(176, 176)
    assert float(ms_ssim(F.avg_pool2d(x, 5, 1, 2), x)) == pytest.approx(0.9756663, abs=1e-5)


def test_one_value_per_image_whatever_its_neighbours() -> None:
    x = torch.cat([picture(176, 176), picture(176, 176).flip(2)])
    x_hat = torch.cat([damaged(x[:1], 0.3), damaged(x[1:], 1.0)])
    for metric in (psnr, ms_ssim):
        torch.testing.assert_close(
            metric(x_hat, x), torch.cat([metric(x_hat[:1], x[:1]), metric(x_hat[1:], x[1:])])
        )


def test_psnr_by_hand() -> None:
    x = torch.zeros(2, 3, 4, 4)
    x_hat = torch.stack([torch.full((3, 4, 4), 0.1), torch.full((3, 4, 4), 0.01)])
    torch.testing.assert_close(psnr(x_hat, x), torch.tensor([20.0, 40.0]))
    assert psnr(x, x).isinf().all()


def test_decibels() -> None:
    torch.testing.assert_close(decibels(torch.tensor([0.9, 0.99])), torch.tensor([10.0, 20.0]))


@pytest.mark.parametrize("size", [(1, 1), (3, 200), (10, 11), (40, 24), (160, 161)])
def test_any_size(size: tuple[int, int]) -> None:
    x = picture(*size)
    x_hat = damaged(x, 0.5).requires_grad_()
    score = ms_ssim(x_hat, x)
    (gradient,) = torch.autograd.grad(score.sum(), x_hat)
    assert 0 <= float(score.detach()) < 1
    assert gradient.isfinite().all()
    assert float(ms_ssim(x, x)) == pytest.approx(1, abs=1e-6)


def test_a_negative_counts_as_nothing_and_has_a_finite_gradient() -> None:
    x = picture(176, 176)
    negative = (1 - x).requires_grad_()
    score = ms_ssim(negative, x)
    (gradient,) = torch.autograd.grad(score.sum(), negative)
    assert float(score.detach()) == 0
    assert gradient.isfinite().all()


def test_gradient_points_towards_the_original() -> None:
    x = picture(176, 176)
    x_hat = damaged(x, 0.5).requires_grad_()
    before = ms_ssim(x_hat, x)
    (gradient,) = torch.autograd.grad(before.sum(), x_hat)
    assert float(ms_ssim((x_hat + 0.01 * gradient / gradient.abs().max()).detach(), x)) > float(
        before.detach()
    )


def test_float32_under_autocast() -> None:
    x = picture(176, 176)
    x_hat = damaged(x, 0.05)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        for metric in (psnr, ms_ssim):
            assert metric(x_hat, x).dtype == torch.float32
        assert float(ms_ssim(x_hat, x)) == pytest.approx(0.9993913, abs=1e-5)
