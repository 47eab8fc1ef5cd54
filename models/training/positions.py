"""Where on the gain axis training spends its steps."""

from __future__ import annotations

import torch
from torch import Tensor

EMPHASIS = 0.7  # share of the samples drawn from the middle of the gain axis
EMPHASISED = (0.13, 0.78)  # that middle, as shares of the axis: about 0.05 to 0.5 bits per pixel on photographs


def sample_positions(count: int) -> Tensor:
    """Positions (count,) on the gain axis, [0, 1]: mostly where the codec will live, always some everywhere."""
    everywhere = torch.rand(count)
    low, high = EMPHASISED
    middle = low + (high - low) * torch.rand(count)
    return torch.where(torch.rand(count) < EMPHASIS, middle, everywhere)
