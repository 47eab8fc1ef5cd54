"""NLPD agrees with the package plenoptic, is a distance, and works on any size."""

from __future__ import annotations

import pytest
import torch

from models.evaluation.judges import Pair
from models.evaluation.nlpd import nlpd


def test_as_plenoptic_says(blurred: Pair) -> None:
    """The value is of plenoptic 2.1.1 in float64, given the filters of JPEG AI's software: Burt and
    Adelson's instead of the binomial one, and no second neighbour.
    """
    y_hat, y = blurred.luma
    assert float(nlpd(y_hat.double(), y.double())) == pytest.approx(0.06874409113731923, rel=1e-6)


@pytest.mark.parametrize("size", [(128, 128), (129, 150), (96, 201)])
def test_it_is_a_distance(size: tuple[int, int]) -> None:
    a, b, c = torch.rand(3, 1, 1, *size)
    assert float(nlpd(a, a)) == 0
    assert float(nlpd(a, b)) == pytest.approx(float(nlpd(b, a)), rel=1e-6)
    assert nlpd(a, c) <= nlpd(a, b) + nlpd(b, c)


def test_worse_pictures_are_farther() -> None:
    y = torch.rand(1, 1, 128, 128)
    noise = torch.randn_like(y)
    distances = [float(nlpd(y + strength * noise, y)) for strength in (0.01, 0.03, 0.1)]
    assert distances == sorted(distances)


def test_pictures_are_compared_one_by_one() -> None:
    a, b = torch.rand(2, 3, 1, 128, 128)
    together = nlpd(a, b)
    alone = torch.cat([nlpd(a[i : i + 1], b[i : i + 1]) for i in range(3)])
    assert torch.allclose(together, alone, rtol=1e-5)
