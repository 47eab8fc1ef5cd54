"""g_s: the synthesis transform, without a pyramid ("unbalanced", Zhou et al. 2018, Fig. 1).

y_hat (1/16) --1x1, 2 res, up--> (1/8) --2 res, up--> (1/4) --res, conv3x3, shuffle 4--(+)--> x_hat
     |                                                                                  |
     +-- linear 16x16 blocks, initialised to the inverse DCT ---------------------------+
"""

from __future__ import annotations

from torch import Tensor, nn

from models.network.blocks import (
    Convolution,
    Pause,
    UnfoldingConvolution,
    cast,
    residual_blocks,
    run,
    up,
    without_pause,
)
from models.network.dct import LinearSynthesis


class Synthesis(nn.Module):
    """Latents to image; its arguments are those of `Analysis`."""

    def __init__(self, widths: tuple[int, int, int], latents: int, depths: tuple[int, int, int]) -> None:
        super().__init__()
        a, b, c = widths
        self.stage16 = nn.Sequential(Convolution(latents, c, 1), *residual_blocks(c, depths[2]), up(c, b))
        self.stage8 = nn.Sequential(*residual_blocks(b, depths[1]), up(b, a))
        to_pixels = UnfoldingConvolution(a, 3, 4, 3)
        to_pixels.weight.data.mul_(0.1)  # the linear base leads at first
        self.stage4 = nn.Sequential(*residual_blocks(a, depths[0]), to_pixels)
        self.linear = LinearSynthesis(latents)

    def forward(self, y_hat: Tensor, pause: Pause = without_pause) -> Tensor:
        """Transform y_hat (N, M, h, w) to x_hat (N, 3, 16h, 16w), in [0, 1] but for overshoot."""
        x = y_hat = cast(y_hat, self.linear.weight)
        for stage in (self.stage16, self.stage8, self.stage4):
            x = run(stage, x, pause)
        # In float32, because bfloat16 has only 128 steps between 0.5 and 1.
        x_hat: Tensor = x.float().add_(self.linear(y_hat)).add_(0.5)
        return x_hat
