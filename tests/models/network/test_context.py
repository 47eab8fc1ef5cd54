"""models.network.context, and how `AutoEncoder` goes through its passes"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from models.grid import PASSES
from models.network.autoencoder import AutoEncoder, Topology
from models.network.context import pass_mask

ANCHOR = torch.tensor([1.3, 2.7])


@pytest.fixture
def network() -> AutoEncoder:
    """Its context says something."""
    made = AutoEncoder(Topology(widths=(8, 8, 8), latents=120, hyper=8, anchors=4)).requires_grad_(False)
    for parameter in made.context.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    return made


def encoded(network: AutoEncoder, y: Tensor, mean: Tensor) -> tuple[Tensor, Tensor]:
    """Residuals and means as the encoder finds them."""
    final = network.mean_in_context(mean, ANCHOR, lambda low: torch.round(y[:, : low.shape[1]] - low))
    return torch.round(y - final), final


def test_the_passes_part_all_places() -> None:
    masks = torch.stack([pass_mask(number, torch.zeros(5, 7)) for number in range(len(PASSES))])
    assert (masks.sum(0) == 1).all()
    assert [int(mask.sum()) for mask in masks] == [12, 6, 17]


def test_the_decoder_finds_the_encoders_means_from_the_residuals_alone(network: AutoEncoder) -> None:
    y, mean = 4 * torch.randn(2, 120, 7, 9), torch.randn(2, 120, 7, 9)
    r_hat, final = encoded(network, y, mean)
    assert torch.equal(network.mean_in_context(mean, ANCHOR, lambda low: r_hat[:, : low.shape[1]]), final)
    told = (final != mean).float().mean((0, 2, 3))
    assert (told[: network.context_out_channels] > 0.5).all()
    assert not told[network.context_out_channels :].any()


@pytest.mark.parametrize("number", range(len(PASSES)))
def test_a_pass_looks_only_at_earlier_ones(network: AutoEncoder, number: int) -> None:
    y, mean = 4 * torch.randn(2, 120, 8, 8), torch.randn(2, 120, 8, 8)
    r_hat, final = encoded(network, y, mean)
    mask = pass_mask(number, y)
    earlier = torch.stack([mask & False, *(pass_mask(k, y) for k in range(number))]).any(0)
    foreign = torch.where(earlier, r_hat, 99.0)
    other = network.mean_in_context(mean, ANCHOR, lambda low: foreign[:, : low.shape[1]])
    assert torch.equal(other[..., mask], final[..., mask])


def test_a_fresh_context_says_nothing() -> None:
    fresh = AutoEncoder(Topology(widths=(8, 8, 8), latents=24, hyper=8, anchors=4))  # fewer channels than are looked at
    y, mean = torch.randn(2, 24, 4, 4), torch.randn(2, 24, 4, 4)
    assert torch.equal(encoded(fresh, y, mean)[1], mean)
