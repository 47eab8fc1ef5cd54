"""models.training.rebase: the same network, trained in another basis"""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from models.network.autoencoder import AutoEncoder
from models.network.blocks import Convolution, FoldingConvolution, UnfoldingConvolution
from models.training.rebase import Rebased, rebase, settled
from tests.make_golden import TINY


@pytest.mark.parametrize("bfloat16", [False, True])
def test_a_rebased_network_computes_the_same(bfloat16: bool) -> None:
    torch.manual_seed(0)
    network = AutoEncoder(TINY).eval()
    rebased = copy.deepcopy(network)
    rebase(rebased)
    x, anchor = torch.rand(1, 3, 64, 64), torch.tensor([1.3])
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
        expected, bits = network(x, anchor, hard=True)
        found, found_bits = rebased(x, anchor, hard=True)
    # In bfloat16 a last bit of a weight may fall the other way.
    assert (found - expected).abs().mean() < (0.01 if bfloat16 else 1e-5)
    assert torch.allclose(found_bits, bits, rtol=0.1 if bfloat16 else 1e-3)


def test_settled_weights_are_those_of_the_plain_network() -> None:
    torch.manual_seed(0)
    network = AutoEncoder(TINY)
    rebased = copy.deepcopy(network)
    rebase(rebased)
    weights = settled(rebased)
    assert weights.keys() == network.state_dict().keys()
    for name, tensor in network.state_dict().items():
        assert torch.allclose(weights[name], tensor, atol=1e-6), name


def test_training_moves_factors_and_the_rest() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(UnfoldingConvolution(4, 3, 2))
    rebase(network)
    before = settled(network)
    network(torch.rand(1, 4, 8, 8)).square().sum().backward()
    names = {
        name.rpartition(".")[2]
        for name, parameter in network.named_parameters()
        if parameter.grad is not None
    }
    assert names == {"original", "gain_in", "gain_out", "bias"}
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if "gain_out" in name:
                parameter.add_(0.5)
    after = settled(network)
    # Factors of frequencies move the phases among each other, and all energy by one factor.
    assert torch.allclose(after["0.weight"].norm(), before["0.weight"].norm() * torch.tensor(0.5).exp())


@pytest.mark.parametrize("layer", [FoldingConvolution(3, 5, 4, 3), UnfoldingConvolution(6, 3, 4, 3)])
def test_a_flat_block_of_pixels_is_one_weight(layer: Convolution) -> None:
    layer.weight.data.fill_(0.25)
    rest = Rebased(layer).right_inverse(layer.weight.data)
    axis = 0 if isinstance(layer, UnfoldingConvolution) else 1
    frequencies = rest.movedim(axis, 0).reshape(-1, 16, rest.numel() // rest.shape[axis])
    assert torch.allclose(frequencies[:, 0], torch.ones(()))  # 16 of 0.25, orthonormal
    assert frequencies[:, 1:].abs().max() < 1e-5


def test_what_is_frozen_stays() -> None:
    network = nn.Sequential(Convolution(3, 3, 3), Convolution(3, 3, 3))
    network[0].requires_grad_(False)
    rebase(network)
    assert [name for name, _ in network[0].named_parameters()] == ["weight", "bias"]
