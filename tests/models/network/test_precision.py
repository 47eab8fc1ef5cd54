"""models.network.precision"""

from __future__ import annotations

import pytest
import torch
from torch import nn

from models.network.precision import has_fast_bfloat16, placed, transform_autocast

CPU = torch.device("cpu")


@torch.inference_mode()
@pytest.mark.parametrize(("asked", "arithmetic"), [(True, torch.bfloat16), (False, torch.float32)])
def test_the_arithmetic_is_what_is_asked_for(asked: bool, arithmetic: torch.dtype) -> None:
    convolution = nn.Conv2d(3, 4, 3)
    with transform_autocast(CPU, bfloat16=asked):
        assert convolution(torch.rand(1, 3, 8, 8)).dtype == arithmetic


@torch.inference_mode()
def test_without_a_wish_it_is_what_the_device_is_fast_at() -> None:
    with transform_autocast(CPU):
        found = nn.Conv2d(3, 4, 3)(torch.rand(1, 3, 8, 8)).dtype
    assert found == (torch.bfloat16 if has_fast_bfloat16(CPU) else torch.float32)
    assert has_fast_bfloat16(torch.device("cuda"))
    assert not has_fast_bfloat16(torch.device("meta"))


@torch.inference_mode()
def test_a_placed_network_is_channels_last_and_computes_the_same() -> None:
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 3))
    x = torch.rand(2, 3, 12, 12)
    expected = network(x)
    moved = placed(network, CPU)
    assert all(p.is_contiguous(memory_format=torch.channels_last) for p in moved.parameters() if p.dim() == 4)
    torch.testing.assert_close(moved(x), expected)
