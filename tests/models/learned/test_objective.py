"""Objective: the distortion of a card's key, at a lambda that is log-linear in the gain axis."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from models.learned.objective import FORMULAS, OBJECTIVES, Objective
from models.metrics import ms_ssim
from models.weights import registry


def pictures() -> tuple[torch.Tensor, torch.Tensor]:
    x = torch.rand(2, 3, 64, 64)
    return (x + 0.1 * torch.randn_like(x)).clamp(0, 1), x


def test_distortions_are_what_their_formulas_say() -> None:
    x_hat, x = pictures()
    mse = (x_hat - x).square().mean((1, 2, 3))
    torch.testing.assert_close(OBJECTIVES["mse"].measure(x_hat, x), mse)
    mixed = 0.2 * mse + 0.8 * (1 - ms_ssim(x_hat, x))
    torch.testing.assert_close(OBJECTIVES["ms-ssim"].measure(x_hat, x), mixed)
    assert set(FORMULAS) == set(OBJECTIVES)


def test_lambda_is_log_linear_between_its_ends() -> None:
    objective = Objective("mse", 2.0, 800.0)
    lmbda = objective.lmbda(torch.tensor([0.0, 0.5, 1.0]))
    torch.testing.assert_close(lmbda, torch.tensor([2.0, 40.0, 800.0]))


def test_the_loss_is_lambda_d_plus_r_per_root_of_lambda() -> None:
    x_hat, x = pictures()
    objective = OBJECTIVES["mse"]
    bits = torch.tensor([1000.0, 3000.0])
    share = torch.tensor([0.2, 0.9])
    lmbda = objective.lmbda(share)
    expected = [
        10 * (float(weight) * float(d) + float(r) / 4096) / math.sqrt(float(weight))
        for weight, d, r in zip(lmbda, objective.measure(x_hat, x), bits, strict=True)
    ]
    assert float(objective(x_hat, x, bits, share)) == pytest.approx(sum(expected) / 2, rel=1e-5)


@pytest.mark.parametrize("name", registry.available())
def test_a_card_names_its_objective_by_key_and_not_in_prose(name: str) -> None:
    card = registry.card(name)
    objective = Objective.of(replace(card, distortion="worded otherwise"))
    assert objective.distortion == {"psnr": "mse", "ms-ssim": "ms-ssim"}[name]
    assert FORMULAS[objective.distortion] == card.distortion
