"""Objective: the distortion of a card's key, at a lambda that is log-linear in the gain axis."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from models.learned import objective
from models.learned.model import CodecModel
from models.learned.objective import FORMULAS, LAMBDA_LOW, Objective, measure
from models.metrics import ms_ssim
from models.metrics.contrast_sensitivity import seen_squared_error
from models.weights import registry


def pictures() -> tuple[torch.Tensor, torch.Tensor]:
    x = torch.rand(2, 3, 64, 64)
    return (x + 0.1 * torch.randn_like(x)).clamp(0, 1), x


def test_distortions_are_what_their_formulas_say() -> None:
    x_hat, x = pictures()
    mse = (x_hat - x).square().mean((1, 2, 3))
    torch.testing.assert_close(measure("mse", x_hat, x), mse)
    mixed = 0.2 * mse + 0.8 * (1 - ms_ssim(x_hat, x))
    torch.testing.assert_close(measure("ms-ssim", x_hat, x), mixed)
    assert set(FORMULAS) == set(LAMBDA_LOW)


def test_visual_follows_luma_and_chroma_apart() -> None:
    x = torch.full((1, 3, 64, 64), 0.5)
    grey = torch.full((3,), 0.1)
    seen = float(seen_squared_error(torch.full((1, 64, 64), 0.1)))
    assert float(measure("visual", x + grey[:, None, None], x)) == pytest.approx(
        43 * objective.LUMA * seen + 1 - float(ms_ssim(x[:, :1] + 0.1, x[:, :1])), rel=1e-3
    )
    # Blue that is brighter by what keeps luma: only Cb and Cr differ.
    coloured = x + torch.tensor([0.0, -0.0722 / 0.7152 * 0.1, 0.1])[:, None, None]
    cb, cr = 0.1 * (0.5 + 0.3854 * 0.0722 / 0.7152), 0.1 * (-0.0458 + 0.4542 * 0.0722 / 0.7152)
    parts = (objective.CHROMA + objective.FAR_CHROMA) * (cb**2 + cr**2)
    assert float(measure("visual", coloured, x)) == pytest.approx(43 * parts, rel=2e-3)
    checks = 0.1 * (1 - 2 * (torch.arange(64) % 2)).float()  # nothing of it is left from afar
    fine = x + checks * torch.tensor([0.0, -0.0722 / 0.7152, 1.0])[:, None, None]
    assert float(measure("visual", fine, x)) == pytest.approx(
        43 * objective.CHROMA * (cb**2 + cr**2), rel=2e-3
    )


def test_visual_has_a_gradient_for_what_is_in_range_alone() -> None:
    x = torch.rand(1, 3, 64, 64)
    x_hat = torch.where(torch.arange(64) < 32, x + 0.01, x + 2.0).clamp(max=1.5).requires_grad_()
    measure("visual", x_hat, x).sum().backward()  # type: ignore[no-untyped-call]
    assert x_hat.grad is not None
    assert float(x_hat.grad[..., 32:].abs().max()) == 0
    assert float(x_hat.grad[..., :32].abs().max()) > 0


@pytest.mark.parametrize("name", registry.available())
def test_another_anchor_goes_on_at_the_same_slope(name: str) -> None:
    card = registry.card(name)
    anchors = CodecModel.load(registry.weights(name)).network.topology.anchors
    shipped = Objective.trained(card.objective, anchors)
    assert shipped.lambda_high == pytest.approx(card.lambda_high, rel=2e-3)
    longer = Objective.trained(card.objective, anchors + 3)
    place = torch.tensor((anchors - 1) / (anchors + 2))
    torch.testing.assert_close(longer.lmbda(place), shipped.lmbda(torch.tensor(1.0)))


def test_lambda_is_log_linear_between_its_ends() -> None:
    objective = Objective("mse", 2.0, 800.0)
    lmbda = objective.lmbda(torch.tensor([0.0, 0.5, 1.0]))
    torch.testing.assert_close(lmbda, torch.tensor([2.0, 40.0, 800.0]))


def test_the_loss_is_lambda_d_plus_r_per_root_of_lambda() -> None:
    x_hat, x = pictures()
    mse = Objective.trained("mse", 12)
    bits = torch.tensor([1000.0, 3000.0])
    share = torch.tensor([0.2, 0.9])
    lmbda = mse.lmbda(share)
    expected = [
        10 * (float(weight) * float(d) + float(r) / 4096) / math.sqrt(float(weight))
        for weight, d, r in zip(lmbda, mse.measure(x_hat, x), bits, strict=True)
    ]
    assert float(mse(x_hat, x, bits, share)) == pytest.approx(sum(expected) / 2, rel=1e-5)


@pytest.mark.parametrize("name", registry.available())
def test_a_card_names_its_objective_by_key_and_not_in_prose(name: str) -> None:
    card = registry.card(name)
    objective = Objective.of(replace(card, distortion="worded otherwise"))
    assert objective.distortion == {"psnr": "mse"}.get(name, name)
    assert FORMULAS[objective.distortion] == card.distortion
