"""models.training.rounding: integers that neither int8 nor sums under 2**24 overflow"""

from __future__ import annotations

import pytest
import torch

from models.entropy.requantisation import EXACT_LIMIT, MULTIPLIER_BITS
from models.training.rounding import WEIGHT_LIMIT, integers, rounded

LIMIT = 255
UNIT = 1 / 16


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize("inputs", [4, 3000])
def test_rounded_layers_are_integers_within_their_limits(scale: float, inputs: int) -> None:
    weight, bias, _ = rounded(scale * torch.randn(7, inputs), scale * torch.randn(7), LIMIT, UNIT)
    assert torch.equal(weight, weight.round())
    assert torch.equal(bias, bias.round())
    assert weight.abs().max() <= WEIGHT_LIMIT
    assert (weight.abs().sum(1) * LIMIT + bias.abs()).max() < EXACT_LIMIT


def test_the_step_leads_back_to_the_layer() -> None:
    weight = torch.randn(5, 8)
    bias = torch.randn(5)
    integer_weight, integer_bias, step = rounded(weight, bias, LIMIT, UNIT)
    assert ((integer_weight * step[:, None] - weight).abs() <= 0.51 * step[:, None]).all()
    assert ((integer_bias * step * UNIT - bias).abs() <= 0.51 * step * UNIT).all()


def test_gradients_pass_straight_through() -> None:
    weight = torch.randn(5, 8, requires_grad=True)
    integer_weight, _, step = rounded(weight, torch.zeros(5), LIMIT, UNIT)
    integer_weight.sum().backward()  # type: ignore[no-untyped-call]
    assert weight.grad is not None
    assert torch.allclose(weight.grad, (1 / step)[:, None].expand(5, 8))


def test_a_layer_of_zeros_has_a_step() -> None:
    weight, bias, step = rounded(torch.zeros(2, 3), torch.zeros(2), LIMIT, UNIT)
    assert not weight.any()
    assert not bias.any()
    assert (step > 0).all()


def test_integers_are_int32_and_multipliers_at_least_1() -> None:
    parts = integers(torch.full((2, 3), 4.0), torch.full((2,), -5.0), torch.tensor([0.5, 1e-12]))
    assert {part.dtype for part in parts} == {torch.int32}
    assert parts[2].tolist() == [1 << (MULTIPLIER_BITS - 1), 1]
