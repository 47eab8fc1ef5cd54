"""models.network.analysis"""

from __future__ import annotations

import pytest
import torch

from models.network.analysis import Analysis


@pytest.fixture
def g_a() -> Analysis:
    return Analysis((8, 12, 16), latents=24, depths=(1, 2, 2)).eval()


@torch.inference_mode()
def test_there_is_one_latent_for_16_pixels_on_a_side(g_a: Analysis) -> None:
    assert g_a(torch.rand(2, 3, 32, 80)).shape == (2, 24, 2, 5)


@torch.inference_mode()
def test_the_linear_base_leads_at_first(g_a: Analysis) -> None:
    x = torch.rand(2, 3, 64, 64)
    base = g_a.linear(x - 0.5)
    assert (g_a(x) - base).norm() < 0.5 * base.norm()


def test_every_branch_of_the_pyramid_is_trained(g_a: Analysis) -> None:
    g_a(torch.rand(1, 3, 32, 32)).square().sum().backward()
    for name, parameter in g_a.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.any(), name
