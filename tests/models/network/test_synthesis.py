"""models.network.synthesis"""

from __future__ import annotations

import pytest
import torch

from models.network.analysis import Analysis
from models.network.synthesis import Synthesis

WIDTHS = (8, 12, 16)
DEPTHS = (1, 2, 2)


@pytest.fixture
def g_s() -> Synthesis:
    return Synthesis(WIDTHS, latents=192, depths=DEPTHS).eval()


@torch.inference_mode()
def test_there_are_16_pixels_on_a_side_for_each_latent(g_s: Synthesis) -> None:
    assert g_s(torch.randn(2, 192, 2, 5)).shape == (2, 3, 32, 80)


@torch.inference_mode()
def test_the_linear_base_leads_at_first(g_s: Synthesis) -> None:
    y = torch.randn(2, 192, 4, 4)
    base = g_s.linear(y)
    assert (g_s(y) - 0.5 - base).norm() < 0.3 * base.norm()


@torch.inference_mode()
def test_untrained_it_nearly_undoes_analysis(g_s: Synthesis) -> None:
    g_a = Analysis(WIDTHS, latents=192, depths=DEPTHS)
    light = torch.linspace(0, 1, 64)[None, None, :, None] * torch.tensor([0.9, 0.5, 0.3])[:, None, None]
    x = light.expand(1, 3, 64, 64)
    assert (g_s(g_a(x)) - x).square().mean().sqrt() < 0.15
