"""PSNR-HVS agrees with the package psnr-hvsm, and weighs what is seen."""

from __future__ import annotations

import pytest
import torch

from models.evaluation.judges import Pair
from models.evaluation.psnr_hvs import psnr_hvs


def test_as_psnr_hvsm_says(blurred: Pair) -> None:
    """The value is of psnr-hvsm 0.3.0, on planes padded to whole blocks."""
    assert float(psnr_hvs(*blurred.luma)) == pytest.approx(34.7407158, abs=2e-6)


def test_a_constant_error_is_weighed_by_the_first_coefficient() -> None:
    y = torch.full((2, 1, 16, 24), 0.5)
    found = psnr_hvs(y + torch.tensor([0.01, 0.02]).view(2, 1, 1, 1), y)
    weight = 25.735088 / 16
    expected = -20 * torch.log10(weight * torch.tensor([0.01, 0.02]))
    assert found.tolist() == pytest.approx(expected.tolist(), abs=1e-3)


def test_fine_detail_counts_less_than_coarse() -> None:
    y = torch.full((1, 1, 32, 32), 0.5)
    columns = torch.arange(32)
    fine = 0.02 * (-1.0) ** columns
    coarse = 0.02 * torch.where(columns % 8 < 4, 1.0, -1.0)
    assert psnr_hvs(y + fine, y) > psnr_hvs(y + coarse, y)


def test_identical_pictures() -> None:
    y = torch.rand(1, 1, 9, 17)
    assert psnr_hvs(y, y).tolist() == [100]
