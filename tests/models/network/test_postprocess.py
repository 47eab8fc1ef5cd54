"""models.network.postprocess"""

from __future__ import annotations

import pytest
import torch

from models.network.postprocess import PostNetwork, PostTopology
from models.network.precision import arranged

TOPOLOGY = PostTopology(kinds=("a", "b"), channels=6, blocks=2, hidden=4)


def randomised() -> PostNetwork:
    network = PostNetwork(TOPOLOGY)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return network.eval()


@torch.inference_mode()
def test_untrained_it_is_the_identity() -> None:
    network = PostNetwork(TOPOLOGY)
    x = torch.rand(1, 3, 16, 24)
    assert torch.allclose(network(x, network.condition(1, 0.3)[None]), x)


@torch.inference_mode()
def test_kind_and_coarseness_decide_what_it_does() -> None:
    network = randomised()
    x = torch.rand(1, 3, 16, 24)
    results = [
        network(x, network.condition(kind, coarseness)[None])
        for kind, coarseness in ((0, 0.2), (0, 0.8), (1, 0.2))
    ]
    for first, second in ((0, 1), (0, 2), (1, 2)):
        assert not torch.allclose(results[first], results[second], atol=1e-3)


@torch.inference_mode()
def test_each_picture_of_a_batch_has_its_own_condition() -> None:
    network = randomised()
    x = torch.rand(2, 3, 16, 24)
    conditions = torch.stack([network.condition(0, 0.1), network.condition(1, 0.9)])
    together = network(x, conditions)
    for i in range(2):
        assert torch.allclose(together[i], network(x[i : i + 1], conditions[i : i + 1])[0], atol=1e-5)


def test_it_reaches_no_further_than_it_says() -> None:
    network = randomised()
    side = 96
    x = torch.rand(1, 3, side, side, requires_grad=True)
    middle = side // 2
    network(x, network.condition(0, 0.5)[None])[0, :, middle, middle].sum().backward()
    assert x.grad is not None
    seen = torch.nonzero(x.grad[0].abs().sum(0))
    reach = (seen - middle).abs().max().item()
    assert TOPOLOGY.fold * (2 * TOPOLOGY.blocks + 2) <= reach <= TOPOLOGY.reach


@torch.inference_mode()
@pytest.mark.parametrize("number", [1, 3])
def test_arranged_it_does_the_same(number: int) -> None:
    network = randomised()
    network.last.weight.mul_(0.3)
    fast = arranged(network, torch.device("cpu"), bfloat16=True)
    x = torch.rand(number, 3, 16, 24).contiguous(memory_format=torch.channels_last)
    conditions = torch.stack([network.condition(0, 0.3 * i) for i in range(number)])
    plain = network(x, conditions)
    assert (plain - x).abs().mean() > 0.01
    assert (fast(x, conditions) - plain).abs().mean() < 0.02 * (plain - x).abs().mean()
