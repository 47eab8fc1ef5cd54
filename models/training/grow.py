"""Grow a trained network to a larger topology without losing what it knows.

New residual blocks come last in their stage and start as the identity.

New latent channels continue the DCT order, start at the DCT's values in the linear base and at zero elsewhere, so the grown network
computes what the small one did (plus higher frequencies). New anchors continue the gain axis at its own slope.
"""

from __future__ import annotations

import re

import torch
from torch import Tensor

from models.network.autoencoder import AutoEncoder, Topology

QUIET = -2.5  # raw output of the scale decoder for a new channel: Laplace scale 0.1, quiet but not yet "surely zero"


def _grown_gain(old: Tensor, below: int, above: int, latents: int) -> Tensor:
    """Log gains (anchors, M), continued on both ends of the axis and for the new channels."""
    slope = (old[-1] - old[0]) / (len(old) - 1)
    rows = [old[0] - k * slope for k in range(below, 0, -1)] + list(old) + [old[-1] + k * slope for k in range(1, above + 1)]
    axis = torch.stack(rows)
    recent = axis[:, -32:].mean(1, keepdim=True)  # the highest old frequencies are the nearest relatives of the new ones
    return torch.cat([axis, recent.expand(-1, latents - axis.shape[1])], 1)


def _renamed(old: dict[str, Tensor], depths: tuple[int, int, int]) -> dict[str, Tensor]:
    """`old` under the names that its tensors have among `depths` residual blocks: what follows the blocks in g_s moves back."""
    renamed = {}
    for name, tensor in old.items():
        if found := re.match(r"(g_s\.stage(4|8|16))\.(\d+)\.(.*)", name):
            stage, resolution, place, rest = found.groups()
            blocks = [key for key in old if re.fullmatch(rf"{stage}\.\d+\.a\.weight", key)]
            last = max(int(key.split(".")[2]) for key in blocks)
            added = depths[(4, 8, 16).index(int(resolution))] - len(blocks)
            name = f"{stage}.{int(place) + (added if int(place) > last else 0)}.{rest}"
        renamed[name] = tensor
    return renamed


def grow(old: dict[str, Tensor], topology: Topology, *, anchors_below: int = 0) -> AutoEncoder:
    """A network of `topology` that starts where `old` (a state dict of fewer latents, anchors and blocks) stands.

    Args:
        old: tensors of the small network, any float type.
        topology: the larger one; the widths and hyper must agree.
        anchors_below: how many of the new anchors lie under the old axis; the rest lie above it.
    """
    model = AutoEncoder(topology)
    state = model.state_dict()
    old = _renamed(old, topology.depths)
    for name in state.keys() - old.keys():
        state[name] = torch.zeros_like(state[name]) if name.endswith(".b.weight") else state[name]
    for name, tensor in old.items():
        value, target = tensor.float(), state[name]
        if name in ("gain", "inverse_gain"):
            above = topology.anchors - len(value) - anchors_below
            state[name] = _grown_gain(value, anchors_below, above, topology.latents)
        elif value.shape == target.shape:
            state[name] = value
        else:
            fresh = target if ".linear." in name else torch.zeros_like(target)
            if name == "h_scale.4.bias":
                fresh = torch.full_like(target, QUIET)
            fresh = fresh.clone()
            fresh[tuple(slice(size) for size in value.shape)] = value
            state[name] = fresh
    model.load_state_dict(state)
    return model
