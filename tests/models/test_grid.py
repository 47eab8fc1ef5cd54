"""models.tiles"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from models.grid import HALO, HYPER_PIXELS, HYPER_STRIDE, tiles
from models.network.autoencoder import AutoEncoder, Topology

NETWORK = AutoEncoder(Topology(widths=(4, 4, 4), latents=6, hyper=4, anchors=2)).eval()
ACROSS = 7  # hyper-latents: the middle one and all that it can reach


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 12), st.integers(0, 3))
def test_tiles_answer_for_everything_once_and_see_around_it(
    rows: int, columns: int, side: int, halo: int
) -> None:
    answered = np.zeros((rows, columns), int)
    whole = np.arange(rows * columns).reshape(rows, columns)
    for tile in tiles(rows, columns, side, halo):
        answered[tile.inner()] += 1
        assert np.array_equal(whole[tile.outer()][tile.within()], whole[tile.inner()])
        inner_rows, outer_rows = tile.inner()[0], tile.outer()[0]
        assert outer_rows.start == max(0, inner_rows.start - halo)
        assert outer_rows.stop == min(rows, inner_rows.stop + halo)
    assert np.all(answered == 1)


def test_an_ordinary_picture_is_one_tile() -> None:
    assert len(list(tiles(32, 32, 32))) == 1
    assert len(list(tiles(100, 10, 32))) == 1
    assert len(list(tiles(33, 32, 32))) == 2


TRANSFORMS: dict[
    str, tuple[Callable[[Tensor], Tensor], int, int, int]
] = {  # and channels in, samples per hyper-latent in and out
    "g_a": (NETWORK.g_a, 3, HYPER_PIXELS, HYPER_STRIDE),
    "g_s": (NETWORK.g_s, 6, HYPER_STRIDE, HYPER_PIXELS),
    "h_a": (NETWORK.h_a, 6, HYPER_STRIDE, 1),
    "h_mean": (NETWORK.h_mean, 4, 1, HYPER_STRIDE),
    "h_scale": (NETWORK.h_scale, 4, 1, HYPER_STRIDE),
}


@pytest.mark.parametrize("name", TRANSFORMS)
@torch.inference_mode()
def test_the_halo_covers_what_a_transform_sees_and_none_smaller_does(name: str) -> None:
    transform, channels, scale_in, scale_out = TRANSFORMS[name]
    x = torch.zeros(1, channels, ACROSS * scale_in, ACROSS * scale_in)
    middle = ACROSS // 2
    x[..., middle * scale_in : (middle + 1) * scale_in, middle * scale_in : (middle + 1) * scale_in] = (
        torch.nan
    )
    reached = torch.isnan(transform(x))[0].any(0).nonzero() // scale_out - middle
    assert reached.abs().max() == (HALO if name != "h_a" else 1)


@pytest.mark.parametrize("name", TRANSFORMS)
@torch.inference_mode()
def test_tiles_give_what_the_whole_gives(name: str) -> None:
    transform, channels, scale_in, scale_out = TRANSFORMS[name]
    x = torch.randn(1, channels, 7 * scale_in, 5 * scale_in)
    whole = transform(x)
    for tile in tiles(7, 5, 2):
        part = transform(x[..., *tile.outer(scale_in)])
        torch.testing.assert_close(part[..., *tile.within(scale_out)], whole[..., *tile.inner(scale_out)])
