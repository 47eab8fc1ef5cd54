"""g_a: the pyramid analysis transform.

    x --unshuffle 4, conv3x3, res--> f4 (1/4) --down, 2 res--> f8 (1/8) --down, 2 res--> f16 (1/16)
    |                                 |                         |                         |
    |                   side: unshuffle 4, 1x1    side: unshuffle 2, 1x1                  |
    |                                 +-------------------------+---- concat, 1x1 --------+
    |                                                                                     |
    +-- linear 16x16 blocks, initialised to the DCT ------------------------------------(+)--> y

The side branches bring the finer steps of the pyramid to the latents' resolution, as in Zhou et al.
2018, Fig. 1.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.network.blocks import Convolution, Pause, cast, down, residual_blocks, run, without_pause
from models.network.dct import LinearAnalysis

SIDE_CHANNELS = 64  # that each side branch brings to 1/16


class Analysis(nn.Module):
    """Image to latents.

    Args:
        widths: channels at 1/4, 1/8 and 1/16.
        latents: channels M of y.
        depths: residual blocks at 1/4, 1/8 and 1/16.
    """

    def __init__(self, widths: tuple[int, int, int], latents: int, depths: tuple[int, int, int]) -> None:
        super().__init__()
        a, b, c = widths
        self.stage4 = nn.Sequential(*down(3, a, 4, 3), *residual_blocks(a, depths[0]))
        self.stage8 = nn.Sequential(down(a, b), *residual_blocks(b, depths[1]))
        self.stage16 = nn.Sequential(down(b, c), *residual_blocks(c, depths[2]))
        self.side4 = down(a, SIDE_CHANNELS, 4)
        self.side8 = down(b, SIDE_CHANNELS)
        self.fuse = Convolution(c + 2 * SIDE_CHANNELS, latents, 1)
        self.fuse.weight.data.mul_(0.1)  # the linear base leads at first
        self.linear = LinearAnalysis(latents)

    def forward(self, x: Tensor, pause: Pause = without_pause) -> Tensor:
        """Transform x (N, 3, H, W) in [0, 1], H and W multiples of 16, to y (N, M, H/16, W/16)."""
        x = cast(x - 0.5, self.fuse.weight)
        f4 = run(self.stage4, x, pause)
        f8 = run(self.stage8, f4, pause)
        f16 = run(self.stage16, f8, pause)
        y: Tensor = self.fuse(torch.cat([self.side4(f4), self.side8(f8), f16], 1), add=self.linear(x))
        return y
