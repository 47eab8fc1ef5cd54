"""Grow a trained network to a larger topology without losing what it knows.

New residual blocks come last in their stage and start as the identity.

New latent channels continue the DCT order. They start at the DCT's values in the linear base and at
zero elsewhere, so that the grown network computes what the small one did, plus higher frequencies.
New anchors continue the gain axis at its own slope. Above it, what comes back keeps its scale.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from models.network.autoencoder import AutoEncoder, Topology

# The scale decoder's raw output for a new channel: Laplace scale 0.1, quiet, not yet "surely zero".
NEW_CHANNEL_RAW_SCALE = -2.5
NEAREST_CHANNELS = 32  # the highest of the old channels, whose mean gain the new ones start at
SCALE_BIAS = "h_scale.4.bias"
STAGE_BLOCKS = {4: 0, 8: 1, 16: 2}  # place in `Topology.depths` by the stage's resolution


def grow(old: Mapping[str, Tensor], topology: Topology, *, anchors_below: int = 0) -> AutoEncoder:
    """Make a network of `topology` that starts where a smaller one stands.

    Args:
        old: the smaller network's weights by name, of any float type.
        topology: the larger one; widths and hyper must agree.
        anchors_below: new anchors below the old axis; the other new ones lie above it.
    """
    model = AutoEncoder(topology)
    fresh = model.state_dict()
    known = _renamed(old, topology.depths)
    state = {name: _started(name, value) for name, value in fresh.items() if name not in known}
    for name, tensor in known.items():
        value = tensor.float()
        if name in ("gain", "inverse_gain"):
            above = topology.anchors - len(value) - anchors_below
            state[name] = _grown_gain(value, anchors_below, above, topology.latents)
        else:
            state[name] = _extended(name, value, fresh[name])
    _undo_new_gains(
        state["gain"], state["inverse_gain"], topology.anchors - len(known["gain"]) - anchors_below
    )
    model.load_state_dict(state)
    return model


def _started(name: str, fresh: Tensor) -> Tensor:
    """Start a tensor of a new block: the block's last weight at zero makes it the identity."""
    return torch.zeros_like(fresh) if name.endswith(".b.weight") else fresh


def _extended(name: str, value: Tensor, fresh: Tensor) -> Tensor:
    """Put a tensor of the small network into the lowest corner of one in the shape of `fresh`."""
    if value.shape == fresh.shape:
        return value
    extended = fresh.clone()
    if ".linear." not in name:
        extended.fill_(NEW_CHANNEL_RAW_SCALE if name == SCALE_BIAS else 0.0)
    extended[tuple(slice(size) for size in value.shape)] = value
    return extended


def _grown_gain(old: Tensor, below: int, above: int, latents: int) -> Tensor:
    """Continue log gains (anchors, M) on both ends of the axis and for new channels."""
    slope = (old[-1] - old[0]) / (len(old) - 1)
    lower = [old[0] - step * slope for step in range(below, 0, -1)]
    higher = [old[-1] + step * slope for step in range(1, above + 1)]
    axis = torch.stack([*lower, *old, *higher])
    nearest = axis[:, -NEAREST_CHANNELS:].mean(1, keepdim=True)
    return torch.cat([axis, nearest.expand(-1, latents - axis.shape[1])], 1)


def _undo_new_gains(gain: Tensor, inverse_gain: Tensor, above: int) -> None:
    """Have the new upper anchors give the synthesis what the last old one does.

    A finer quantiser does not change how large a latent is. At their own slopes the two drift apart
    by a factor that grows with every anchor.
    """
    if above:
        last = len(gain) - above - 1
        inverse_gain[-above:] = inverse_gain[last] + gain[last] - gain[-above:]


def _renamed(old: Mapping[str, Tensor], depths: tuple[int, int, int]) -> dict[str, Tensor]:
    """Rename tensors to what they are called among `depths` residual blocks.

    What follows the blocks of a stage in g_s moves back by the number of new ones.
    """
    renamed = {}
    for name, tensor in old.items():
        if found := re.match(r"(g_s\.stage(4|8|16))\.(\d+)\.(.*)", name):
            stage, resolution, place, rest = found.groups()
            blocks = [int(key.split(".")[2]) for key in old if re.fullmatch(rf"{stage}\.\d+\.a\.weight", key)]
            added = depths[STAGE_BLOCKS[int(resolution)]] - len(blocks)
            moved = int(place) + (added if int(place) > max(blocks) else 0)
            name = f"{stage}.{moved}.{rest}"
        renamed[name] = tensor
    return renamed
