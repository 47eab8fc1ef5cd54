"""models.network.blocks"""

from __future__ import annotations

import pytest
import torch

from models.network.blocks import down, residual_blocks, up


@torch.inference_mode()
def test_fresh_blocks_are_nearly_the_identity() -> None:
    x = torch.randn(2, 16, 12, 10)
    (block,) = residual_blocks(16, 1)
    assert (block(x) - x).norm() < 0.2 * x.norm()
    deep = torch.nn.Sequential(*residual_blocks(16, 6))
    assert (deep(x) - x).norm() < 0.5 * x.norm()


@torch.inference_mode()
@pytest.mark.parametrize("kernel", [1, 3])
def test_down_halves_and_up_doubles(kernel: int) -> None:
    x = torch.randn(2, 3, 8, 6)
    assert down(3, 7)(x).shape == (2, 7, 4, 3)
    assert up(3, 7, kernel)(x).shape == (2, 7, 16, 12)


@torch.inference_mode()
def test_down_and_up_see_no_further_than_a_block_of_four() -> None:
    x = torch.zeros(1, 1, 8, 8)
    spike = x.clone()
    spike[..., 2, 5] = 1.0
    layer = torch.nn.Sequential(down(1, 4), up(4, 1))
    rows, columns = torch.nonzero((layer(spike) - layer(x))[0, 0]).T
    assert set(rows.tolist()) <= {2, 3}
    assert set(columns.tolist()) <= {4, 5}
