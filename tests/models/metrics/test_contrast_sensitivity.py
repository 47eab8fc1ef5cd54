"""Contrast sensitivity: the error that is seen is PSNR-HVS's, at any place of its grid."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from models.evaluation.psnr_hvs import psnr_hvs
from models.metrics.contrast_sensitivity import SIDE, seen_squared_error, sensitivity


def test_it_is_the_error_of_psnr_hvs_averaged_over_the_grid() -> None:
    error = 0.1 * torch.randn(2, 24, 16, dtype=torch.float64)
    padded = F.pad(error, (SIDE,) * 4)
    energy = torch.zeros(2, dtype=torch.float64)
    for top in range(SIDE):
        for left in range(SIDE):
            part = padded[:, None, top : top + 32, left : left + 24]
            energy += 10 ** (-psnr_hvs(part, torch.zeros_like(part)) / 10) * part[0].numel()
    expected = energy / SIDE**2 / error[0].numel()
    torch.testing.assert_close(seen_squared_error(error), expected)


def test_the_place_in_the_picture_does_not_count() -> None:
    error = torch.zeros(3, 40, 40)
    error[0, 15:19, 16:20] = error[1, 18:22, 21:25] = error[2, 22:26, 17:21] = 0.1
    seen = seen_squared_error(error)
    assert seen.tolist() == pytest.approx([float(seen[0])] * 3, rel=1e-5)


def test_coarse_errors_are_seen_better_than_fine_ones() -> None:
    columns = torch.arange(64)
    fine = 0.02 * (-1.0) ** columns
    coarse = 0.02 * torch.where(columns % 8 < 4, 1.0, -1.0)
    seen = seen_squared_error(torch.stack([fine, coarse])[:, None].expand(2, 64, 64))
    assert float(seen[1]) > 5 * float(seen[0])


def test_it_has_a_gradient() -> None:
    error = torch.randn(1, 16, 16, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(seen_squared_error, error)


def test_a_constant_error_weighs_as_the_first_coefficient() -> None:
    seen = float(seen_squared_error(torch.full((1, 256, 256), 0.1)))
    assert seen == pytest.approx(float(sensitivity()[0, 0] * 0.1) ** 2, rel=0.04)  # but for the border
