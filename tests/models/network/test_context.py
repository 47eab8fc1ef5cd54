"""models.network.context; `test_autoencoder` goes through its passes."""

from __future__ import annotations

import torch

from models.grid import PASSES
from models.network.context import MeanContext, pass_mask


def test_the_passes_part_all_places() -> None:
    masks = torch.stack([pass_mask(number, torch.zeros(5, 7)) for number in range(len(PASSES))])
    assert (masks.sum(0) == 1).all()
    assert [int(mask.sum()) for mask in masks] == [12, 6, 17]


def test_a_fresh_context_corrects_nothing_but_can_learn_to() -> None:
    context = MeanContext(5, 9)
    correction = context(torch.randn(2, 5, 6, 7))
    assert correction.shape == (2, 9, 6, 7)
    assert not correction.any()
    (correction - 1).square().sum().backward()
    for layer in (context.linear, context.bend):
        assert layer.weight.grad is not None
        assert layer.weight.grad.any()


@torch.inference_mode()
def test_a_place_is_corrected_by_its_eight_neighbours_at_most() -> None:
    context = MeanContext(3, 4)
    for parameter in context.parameters():
        torch.nn.init.normal_(parameter)
    deviation = torch.zeros(1, 3, 9, 9)
    spike = deviation.clone()
    spike[..., 4, 4] = 5.0
    changed = (context(spike) != context(deviation))[0].any(0)
    rows, columns = torch.nonzero(changed).T
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (3, 5, 3, 5)
