"""models.network.hyperprior"""

from __future__ import annotations

import pytest
import torch

from models.network.hyperprior import (
    SCALE_FLOOR,
    FactorizedPrior,
    hyper_analysis,
    hyper_synthesis,
    laplace_bits,
    scale_of,
)

INTEGERS = torch.arange(-300.0, 301.0)


@pytest.mark.parametrize("scale", [0.02, 0.3, 1.0, 10.0])
def test_the_probabilities_of_all_integers_sum_to_one(scale: float) -> None:
    probabilities = 2 ** -laplace_bits(INTEGERS, torch.tensor(scale))
    assert float(probabilities.sum()) == pytest.approx(1, abs=1e-4)


def test_bits_are_symmetric_and_grow_with_the_magnitude() -> None:
    bits = laplace_bits(INTEGERS, torch.tensor(2.0))
    torch.testing.assert_close(bits, bits.flip(0))
    assert (bits[300:].diff() >= 0).all()
    assert bits.max() < 30


def test_the_prior_is_a_distribution_about_its_mean() -> None:
    prior = FactorizedPrior(3)
    with torch.no_grad():
        prior.mean.copy_(torch.tensor([-4.0, 0.0, 7.0]).view(1, 3, 1, 1))
        bits = prior(INTEGERS.expand(1, 3, 1, -1))[0, :, 0]
    torch.testing.assert_close((2**-bits).sum(1), torch.ones(3), atol=1e-4, rtol=0)
    assert INTEGERS[bits.argmin(1)].tolist() == [-4, 0, 7]


@torch.inference_mode()
def test_z_is_a_quarter_of_y_on_a_side() -> None:
    y = torch.randn(2, 24, 12, 8)
    z = hyper_analysis(24, 6)(y)
    assert z.shape == (2, 6, 3, 2)
    assert hyper_synthesis(6, 24)(z).shape == y.shape


def test_scales_grow_with_the_raw_output_and_have_a_floor() -> None:
    scales = scale_of(torch.linspace(-50, 50, 101))
    assert scales.min() == pytest.approx(SCALE_FLOOR)
    assert (scales.diff() >= 0).all()
    assert scales.max() == pytest.approx(50 + SCALE_FLOOR)
