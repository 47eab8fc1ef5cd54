"""models.training.grow: a grown network starts where the small one stood"""

from __future__ import annotations

from dataclasses import replace

import torch

from models.network.autoencoder import AutoEncoder, Topology
from models.training.grow import grow
from tests.make_golden import TINY

SMALL = Topology(widths=(8, 8, 8), latents=32, hyper=8, anchors=3)


def test_more_latents_and_anchors() -> None:
    torch.manual_seed(0)
    small = AutoEncoder(SMALL).eval()
    large = grow(small.state_dict(), replace(SMALL, latents=48, anchors=6), anchors_below=2).eval()
    x = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        y_small = small.g_a(x)
        assert torch.allclose(large.g_a(x)[:, :32], y_small, atol=1e-5)
        padded = torch.cat([y_small, torch.zeros(1, 16, 4, 4)], 1)
        assert torch.allclose(large.g_s(padded), small.g_s(y_small), atol=1e-5)
        assert torch.allclose(large.gain[2:5, :32], small.gain)
        assert torch.allclose(large.gain[0, :32], 2 * large.gain[1, :32] - large.gain[2, :32], atol=1e-5)


def test_deeper_transforms() -> None:
    torch.manual_seed(0)
    shallow = AutoEncoder(TINY).eval()
    deep = grow(shallow.state_dict(), replace(TINY, depths=(2, 2, 4))).eval()
    x = torch.rand(1, 3, 64, 64)
    y = torch.randn(1, TINY.latents, 4, 4)
    with torch.no_grad():
        assert torch.equal(deep.g_a(x), shallow.g_a(x))
        assert torch.equal(deep.g_s(y), shallow.g_s(y))
    # Three new blocks in each transform, of two convolutions with weight and bias.
    assert len(deep.state_dict()) == len(shallow.state_dict()) + 2 * 3 * 4


def test_the_same_topology_is_the_same_network() -> None:
    old = AutoEncoder(TINY)
    halved = {name: tensor.half() for name, tensor in old.state_dict().items()}
    for name, tensor in grow(halved, TINY).state_dict().items():
        assert torch.equal(tensor, halved[name].float()), name


def test_finer_anchors_keep_the_scale_of_what_comes_back() -> None:
    old = AutoEncoder(TINY).state_dict()
    generator = torch.Generator().manual_seed(0)
    for name in ("gain", "inverse_gain"):  # which do not undo each other, as in trained networks
        old[name] = torch.randn(old[name].shape, generator=generator)
    grown = grow(old, replace(TINY, anchors=TINY.anchors + 2))
    scale = grown.gain + grown.inverse_gain
    torch.testing.assert_close(scale[-2:], scale[TINY.anchors - 1].expand(2, -1))
