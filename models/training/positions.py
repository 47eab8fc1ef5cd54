"""Positions on the gain axis that training spends its steps on.

A position is a share of the axis, [0, 1], as `models.rate_control.Position.share`.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

EMPHASIS = 0.7  # share of the samples drawn from the emphasised part of the gain axis
# Ends of that part, unless a recipe says otherwise: about 0.05 and 0.5 bits per pixel on Kodak.
EMPHASISED_FROM = 0.13
EMPHASISED_TO = 0.78


def sample_shares(count: int, emphasised_to: float = EMPHASISED_TO) -> Tensor:
    """Draw shares (count,) of the gain axis, [0, 1], rising.

    Most lie where the codec will be used, some everywhere. One comes from each of `count` equally
    likely parts, because the loss differs more along the axis than from picture to picture.
    """
    knots = np.array([0.0, EMPHASISED_FROM, emphasised_to, 1.0])
    # The probability of a share below each knot.
    cumulative = (1 - EMPHASIS) * knots + EMPHASIS * np.array([0.0, 0.0, 1.0, 1.0])
    quantiles = (torch.arange(count) + torch.rand(count)) / count
    return torch.from_numpy(np.interp(quantiles.numpy(), cumulative, knots)).float()
