"""Where on the gain axis training spends its steps."""

from __future__ import annotations

import torch
from torch import Tensor

EMPHASIS = 0.7  # share of the samples drawn from the emphasised part of the gain axis
EMPHASISED_FROM = 0.13  # where that begins, as a share of the axis: about 0.05 bits per pixel on photographs
EMPHASISED_TO = 0.78  # where it ends unless a recipe says otherwise: about 0.5 bits per pixel on photographs of Kodak's size


def sample_positions(count: int, emphasised_to: float = EMPHASISED_TO) -> Tensor:
    """Positions (count,) on the gain axis, [0, 1]: mostly where the codec will live, always some everywhere."""
    everywhere = torch.rand(count)
    emphasised = EMPHASISED_FROM + (emphasised_to - EMPHASISED_FROM) * torch.rand(count)
    return torch.where(torch.rand(count) < EMPHASIS, emphasised, everywhere)
