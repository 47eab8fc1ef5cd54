"""The mean's context: decoded latents correct the means of those that follow.

It goes through the passes of `models.grid`.

All residuals are entropy-decoded before any mean is needed. So the context may be float: devices
that round differently get slightly different pixels, and the entropy coder notices nothing.

It works in units of the image (after the inverse gain), so that one set of weights serves all
rates. It sees and corrects only the lowest channels, where nearly all that neighbours share lies.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.grid import PASSES
from models.network.blocks import NEGATIVE_SLOPE, Convolution

CONTEXT_IN_CHANNELS = 48  # lowest channels of the decoded latents that are looked at
CONTEXT_OUT_CHANNELS = 96  # lowest channels whose means are corrected
HIDDEN_CHANNELS = 64


class MeanContext(nn.Module):
    """One pass's correction of the means: a linear part and a non-linear one, both zero when fresh.

    Args:
        in_channels: that are looked at.
        out_channels: that are corrected.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.linear = Convolution(in_channels, out_channels, 3, 1, 1, bias=False)
        self.hidden = Convolution(in_channels, HIDDEN_CHANNELS, 3, 1, 1)
        self.bend = Convolution(HIDDEN_CHANNELS, out_channels, 1, bias=False)
        nn.init.zeros_(self.linear.weight)  # `models.training.mean_context` solves for it
        nn.init.zeros_(self.bend.weight)

    def forward(self, deviation: Tensor) -> Tensor:
        """Predict deviations (N, out, h, w) from z's predictions by those of the decoded latents.

        Args:
            deviation: y_hat less its prediction from z alone (N, in, h, w); 0 where nothing is
                decoded yet.
        """
        hidden = self.hidden(deviation, slope=NEGATIVE_SLOPE)
        correction: Tensor = self.bend(hidden, add=self.linear(deviation))
        return correction


def pass_mask(number: int, y: Tensor) -> Tensor:
    """Mark the places of y (..., h, w) that pass `number` decodes: bool (h, w), on y's device."""
    mask = torch.zeros(y.shape[-2:], dtype=torch.bool, device=y.device)
    for row, column in PASSES[number]:
        mask[row::2, column::2] = True
    return mask
