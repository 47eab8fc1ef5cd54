"""models.network.autoencoder"""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest
import torch
from torch import Tensor

from models.grid import PASSES
from models.network.autoencoder import AutoEncoder, Topology, noisy, pad_to_multiple, straight_through
from models.network.context import pass_mask
from models.network.hyperprior import laplace_bits, scale_of

ANCHOR = torch.tensor([1.3, 2.7])
TOPOLOGY = Topology(widths=(8, 8, 8), latents=120, hyper=8, anchors=4)


@pytest.fixture
def network() -> AutoEncoder:
    """Its context says something."""
    made = AutoEncoder(TOPOLOGY).requires_grad_(False)
    for parameter in made.context.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    return made


def encoded(network: AutoEncoder, y: Tensor, mean: Tensor) -> tuple[Tensor, Tensor]:
    """Residuals and means as the encoder finds them."""
    final = network.mean_in_context(mean, ANCHOR, lambda low: torch.round(y[:, : low.shape[1]] - low))
    return torch.round(y - final), final


def test_a_topology_survives_json() -> None:
    assert Topology.restored(json.loads(json.dumps(asdict(TOPOLOGY)))) == TOPOLOGY
    with pytest.raises(TypeError, match="channels"):
        Topology.restored({"channels": 3})


def test_padding_repeats_the_border_up_to_a_multiple() -> None:
    x = torch.rand(1, 2, 5, 8)
    padded = pad_to_multiple(x, 4)
    assert padded.shape == (1, 2, 8, 8)
    assert torch.equal(padded[..., :5, :], x)
    assert torch.equal(padded[..., 5:, :], x[..., 4:, :].expand(1, 2, 3, 8))
    assert pad_to_multiple(padded, 4) is padded


def test_the_stand_ins_for_rounding_have_the_gradient_of_the_identity() -> None:
    value = torch.linspace(-3, 3, 50, requires_grad=True)
    assert torch.equal(straight_through(value), value.round())
    assert (noisy(value) - value).abs().max() <= 0.5
    for rounded in (straight_through(value), noisy(value)):
        (gradient,) = torch.autograd.grad(rounded.sum(), value)
        assert torch.equal(gradient, torch.ones(50))


def test_gains_are_log_linear_between_the_anchors(network: AutoEncoder) -> None:
    log_gain = torch.randn(4, 120)
    gains = network.gain_at(log_gain, torch.tensor([0.0, 1.0, 1.25, 2.0, 3.0]))[..., 0, 0]
    torch.testing.assert_close(gains[[0, 1, 3, 4]], log_gain.exp())
    torch.testing.assert_close(gains[2], gains[1] ** 0.75 * gains[3] ** 0.25)


def test_a_fresh_inverse_gain_is_the_inverse(network: AutoEncoder) -> None:
    y = torch.randn(2, 120, 4, 4)
    scaled = network.scaled(y, ANCHOR)
    torch.testing.assert_close(network.dequantised(scaled, torch.zeros_like(y), ANCHOR), y)


def test_significant_latents_are_those_that_do_not_round_to_zero(network: AutoEncoder) -> None:
    y = torch.randn(2, 120, 4, 4)
    for anchor, counts in enumerate(network.significant(y).T):
        rounded = network.scaled(y, torch.full((2,), float(anchor))).round()
        assert torch.equal(counts, rounded.count_nonzero((1, 2, 3)).double())


def test_side_information_and_means_fit_any_size_of_y(network: AutoEncoder) -> None:
    y = torch.randn(2, 120, 5, 9)
    z = network.side_information(y)
    assert z.shape == (2, 8, 2, 3)
    assert network.mean(z, 5, 9).shape == y.shape


@torch.inference_mode()
def test_forward_is_what_encoder_and_decoder_do_piece_by_piece(network: AutoEncoder) -> None:
    x = torch.rand(2, 3, 64, 128)
    y = network.scaled(network.g_a(x), ANCHOR)
    z = network.side_information(y)
    z_hat = z.round()
    residuals, _ = encoded(network, y, network.mean(z_hat, 4, 8))
    bits = laplace_bits(residuals, scale_of(network.h_scale(z_hat))).sum((1, 2, 3)) + network.prior_z(
        z_hat
    ).sum((1, 2, 3))
    mean = network.mean_in_context(
        network.mean(z_hat, 4, 8), ANCHOR, lambda low: residuals[:, : low.shape[1]]
    )
    x_hat, estimated = network(x, ANCHOR, hard=True)
    torch.testing.assert_close(x_hat, network.reconstruct(residuals, mean, ANCHOR))
    torch.testing.assert_close(estimated, bits)


def test_training_reaches_every_parameter() -> None:
    network = AutoEncoder(TOPOLOGY)
    x_hat, bits = network(torch.rand(2, 3, 64, 64), ANCHOR)
    (x_hat.square().sum() + bits.sum()).backward()
    unreached = {name for name, parameter in network.named_parameters() if parameter.grad is None}
    assert not unreached


def test_the_decoder_finds_the_encoders_means_from_the_residuals_alone(network: AutoEncoder) -> None:
    y = 4 * torch.randn(2, 120, 7, 9)
    mean = torch.randn(2, 120, 7, 9)
    r_hat, final = encoded(network, y, mean)
    assert torch.equal(network.mean_in_context(mean, ANCHOR, lambda low: r_hat[:, : low.shape[1]]), final)
    corrected = (final != mean).float().mean((0, 2, 3))
    assert (corrected[: network.context_out_channels] > 0.5).all()
    assert not corrected[network.context_out_channels :].any()


@pytest.mark.parametrize("number", range(len(PASSES)))
def test_a_pass_looks_only_at_earlier_ones(network: AutoEncoder, number: int) -> None:
    y = 4 * torch.randn(2, 120, 8, 8)
    mean = torch.randn(2, 120, 8, 8)
    r_hat, final = encoded(network, y, mean)
    mask = pass_mask(number, y)
    earlier = torch.stack([mask & False, *(pass_mask(k, y) for k in range(number))]).any(0)
    foreign = torch.where(earlier, r_hat, 99.0)
    other = network.mean_in_context(mean, ANCHOR, lambda low: foreign[:, : low.shape[1]])
    assert torch.equal(other[..., mask], final[..., mask])


def test_the_source_of_residuals_is_asked_as_its_contract_says(network: AutoEncoder) -> None:
    """Once for each pass but the last, with means final so far; elsewhere it answers anything."""
    y = 4 * torch.randn(2, 120, 8, 8)
    mean = torch.randn(2, 120, 8, 8)
    _, final = encoded(network, y, mean)
    asked: list[Tensor] = []

    def residuals_of(low: Tensor) -> Tensor:
        number = len(asked)
        asked.append(low)
        residuals = torch.round(y[:, : low.shape[1]] - low)
        return torch.where(pass_mask(number, y), residuals, torch.nan)

    assert torch.equal(network.mean_in_context(mean, ANCHOR, residuals_of), final)
    assert [low.shape for low in asked] == [(2, network.context_in_channels, 8, 8)] * (len(PASSES) - 1)
    for number, low in enumerate(asked):
        decided = torch.stack([pass_mask(k, y) for k in range(number + 1)]).any(0)
        assert torch.equal(low[..., decided], final[:, : network.context_in_channels, decided])


def test_gradients_reach_residuals_through_the_means_of_later_passes(network: AutoEncoder) -> None:
    residuals = torch.randn(2, 120, 4, 4, requires_grad=True)
    mean = network.mean_in_context(
        torch.zeros(2, 120, 4, 4), ANCHOR, lambda low: residuals[:, : low.shape[1]]
    )
    (gradient,) = torch.autograd.grad(mean.sum(), residuals)
    reached = gradient.any(0).any(0)
    assert torch.equal(reached, ~pass_mask(len(PASSES) - 1, mean))
    assert not gradient[:, network.context_in_channels :].any()


def test_with_few_latents_a_fresh_context_sees_all_and_corrects_nothing() -> None:
    fresh = AutoEncoder(Topology(widths=(8, 8, 8), latents=24, hyper=8, anchors=4))
    assert fresh.context_in_channels == fresh.context_out_channels == 24
    y = torch.randn(2, 24, 4, 4)
    mean = torch.randn(2, 24, 4, 4)
    assert torch.equal(encoded(fresh, y, mean)[1], mean)
