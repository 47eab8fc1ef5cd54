"""Where on the gain axis training spends its steps."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

EMPHASIS = 0.7  # share of the samples drawn from the emphasised part of the gain axis
EMPHASISED_FROM = 0.13  # where that begins, as a share of the axis: about 0.05 bits per pixel on photographs
EMPHASISED_TO = 0.78  # where it ends unless a recipe says otherwise: about 0.5 bits per pixel on photographs of Kodak's size


def sample_positions(count: int, emphasised_to: float = EMPHASISED_TO) -> Tensor:
    """Positions (count,) on the gain axis, [0, 1], ascending: mostly where the codec will live, always some everywhere.

    One from each of `count` equally likely parts, as what a position costs differs more along the axis than from picture to picture.
    """
    knots = np.array([0.0, EMPHASISED_FROM, emphasised_to, 1.0])
    below = (1 - EMPHASIS) * knots + EMPHASIS * np.array([0.0, 0.0, 1.0, 1.0])  # share of all samples below each knot
    shares = (torch.arange(count) + torch.rand(count)) / count
    return torch.from_numpy(np.interp(shares.numpy(), below, knots)).float()
