"""Transforms: positions become places between anchors, and what a tile computes is what the whole
would.
"""

from __future__ import annotations

import numpy as np
import torch

from models import Picture
from models.learned.model import CodecModel
from models.learned.transforms import Transforms
from models.rate_control import COARSEST, FINEST, Position
from tests.make_golden import FIXTURES, golden_picture


def transforms(tile: int = 32) -> Transforms:
    model = CodecModel.load(FIXTURES / "tiny.safetensors")
    return Transforms(model, torch.device("cpu"), bfloat16=False, tile=tile)


def test_positions_span_the_anchors() -> None:
    whole = transforms()
    last = whole.network.topology.anchors - 1
    places = whole.anchors([COARSEST, Position(0x8000), FINEST])
    assert places[0] == 0
    assert places[2] == last
    assert abs(float(places[1]) - Position(0x8000).anchor(last + 1)) < 1e-5


def test_latents_of_tiles_are_those_of_the_whole() -> None:
    picture = Picture.from_array(np.tile(golden_picture().rgb, (2, 2, 1)))
    with torch.inference_mode():
        whole = transforms().latents([picture])
        tiled = transforms(tile=2).latents([picture])
    assert whole.shape == (1, transforms().network.topology.latents, 18, 24)
    torch.testing.assert_close(whole, tiled, atol=1e-4, rtol=1e-4)


def test_hyper_latents_are_integers_within_their_tables() -> None:
    with torch.inference_mode():
        whole = transforms()
        z = whole.hyper_latents(100 * whole.latents([golden_picture()]), whole.anchors([FINEST]))
    assert torch.equal(z, z.round())
    assert z.abs().max() <= 63
