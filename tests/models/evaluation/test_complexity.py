"""Costs are counted as by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from models.evaluation.complexity import context_cost, kmac_per_pixel, our_costs, parameters, published_costs
from tests.models.entropy.integers import CONTEXT_MODEL


def test_convolutions_and_products() -> None:
    with torch.device("meta"):
        network = nn.Sequential(
            nn.Conv2d(3, 8, 5, 2, 2), nn.Conv2d(8, 8, 3, 1, 1, groups=8), nn.ConvTranspose2d(8, 4, 4, 2, 1)
        )
        x = torch.rand(1, 3, 32, 32)
        by_hand = 3 * 8 * 25 / 4 + 8 * 9 / 4 + 8 * 4 * 16 / 4
        assert kmac_per_pixel(network, x, pixels=32 * 32) == pytest.approx(by_hand / 1000)
        assert kmac_per_pixel(nn.Linear(16, 32), torch.rand(64, 16), pixels=64) == pytest.approx(
            16 * 32 / 1000
        )
    assert parameters(network) == (3 * 8 * 25 + 8) + (8 * 9 + 8) + (8 * 4 * 16 + 4)


def test_published_costs() -> None:
    """Costs are counted by hand.

    A 3x3 convolution, 192 on 192, costs 331,776 MAC per output pixel (per input pixel where
    transposed), GDN 36,864.
    """
    conv = 9 * 192 * 192
    gdn = 192 * 192 * (1 / 4 + 1 / 16 + 1 / 64)
    image = 9 * 192 * 3
    sides_and_fuse = (81 + 25 + 9 + 4) * 192 * 192 / 256
    stages = conv * (2 / 4 + 2 / 16 + 2 / 64 + 1 / 256)
    kmac = {cost.part: cost.kmac for cost in published_costs()}
    assert kmac["f_e"] == pytest.approx((image + stages + gdn + sides_and_fuse) / 1000)
    assert kmac["f_d"] == pytest.approx((image + stages + gdn) / 1000)
    assert (kmac["h_e"], kmac["h_d"], kmac["post"]) == pytest.approx((1.764, 1.224, 445.824))


def test_context_costs() -> None:
    """Bands have 1, 2 and 3 of 6 channels, hidden layers 16.

    Inputs are 1, 4 and 9 in the first pass, 4, 11 and 22 in the others.
    """
    first = 16 * (1 + 4 + 9) + 3 * 16 * 16 + 16 * 6
    other = 16 * (4 + 11 + 22) + 3 * 16 * 16 + 16 * 6
    cost = context_cost(CONTEXT_MODEL)
    assert cost.parameters == first + 2 * other
    assert cost.kmac == pytest.approx((first + 3 * other) / 4 / 256 / 1000)


def test_our_network_is_light() -> None:
    """The design's limit is 60 kMAC per pixel each way.

    The published network takes four times as much.
    """
    kmac = {cost.part: cost.kmac for cost in our_costs()}
    encode = sum(kmac[part] for part in ("g_a", "h_a", "h_scale", "h_mean"))
    decode = sum(kmac[part] for part in ("h_scale", "h_mean", "g_s"))
    published = {cost.part: cost.kmac for cost in published_costs()}
    assert max(encode, decode) < 60
    assert encode < published["f_e"] / 4
    assert decode < published["f_d"] / 4
    assert kmac["post"] < published["post"] / 5
