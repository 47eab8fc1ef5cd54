"""The mean's context: what latents decoded so far say about those that follow, in the passes of `models.grid`.

All residuals are entropy-decoded before any mean is needed, so the context may be float: a rounding difference between two devices stays
one and never reaches the entropy coder. It works in units of the image (after the inverse gain), so that one set of weights serves all
rates; only low channels are seen and told, as nearly all that neighbours share lies there.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.grid import PASSES
from models.network.blocks import SLOPE

SEEN = 48  # channels of the neighbours that are looked at, the lowest
TOLD = 96  # channels that are predicted, the lowest
HIDDEN = 64


class MeanContext(nn.Module):
    """One pass's correction of the mean: a linear part, and a non-linear one that starts at nothing."""

    def __init__(self, seen: int, told: int) -> None:
        super().__init__()
        self.linear = nn.Conv2d(seen, told, 3, 1, 1, bias=False)
        self.hidden = nn.Conv2d(seen, HIDDEN, 3, 1, 1)
        self.bend = nn.Conv2d(HIDDEN, told, 1, bias=False)
        nn.init.zeros_(self.linear.weight)  # `models.training.mean_context` solves for it
        nn.init.zeros_(self.bend.weight)

    def forward(self, deviation: Tensor) -> Tensor:
        """Deviations of the decoded latents from what z alone predicts, 0 where nothing is decoded (N, seen, h, w), to (N, told, h, w)."""
        correction: Tensor = self.linear(deviation) + self.bend(nn.functional.leaky_relu(self.hidden(deviation), SLOPE))
        return correction


def pass_mask(number: int, y: Tensor) -> Tensor:
    """Where in y (..., h, w) the latents of that pass are: bool (h, w)."""
    mask = torch.zeros(y.shape[-2:], dtype=torch.bool, device=y.device)
    for row, column in PASSES[number]:
        mask[row::2, column::2] = True
    return mask
