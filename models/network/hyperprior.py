"""The hyperprior: side information z, the scales it gives the entropy coder and the mean it gives the reconstruction.

    y * gain --h_a--> z --round--> z_hat --h_scale--> table index of the Laplacian of each element of y   (entropy-critical: integers)
                                     +-----h_mean---> mean of each element of y                           (float, never entropy-critical)

What is coded is the residual round(y - mean), with a zero-mean Laplacian (Zhou et al. 2018, eq. 2). The mean only shifts the
reconstruction, so float differences between devices cannot desynchronise the coder.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.network.blocks import SLOPE, down, up

SCALE_FLOOR = 0.02  # the smallest Laplace scale b that training uses: "surely zero"
PROBABILITY_FLOOR = 1e-9


def laplace_bits(value: Tensor, scale: Tensor) -> Tensor:
    """Bits of `value` under a zero-mean Laplacian of scale b integrated over [value - 1/2, value + 1/2] (ibid., eq. 1)."""

    def cdf(t: Tensor) -> Tensor:
        return torch.where(t < 0, 0.5 * torch.exp(t.clamp(max=0) / scale), 1 - 0.5 * torch.exp(-t.clamp(min=0) / scale))

    value = -value.abs()  # the lower tail keeps its precision
    return -torch.log2((cdf(value + 0.5) - cdf(value - 0.5)).clamp_min(PROBABILITY_FLOOR))


class FactorizedPrior(nn.Module):
    """The prior of z: per channel, a mixture of two Laplacians with a common mean. Exported as one integer table per channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mean = nn.Parameter(torch.zeros(1, channels, 1, 1))
        self.mix = nn.Parameter(torch.zeros(1, channels, 1, 1))
        self.scale1 = nn.Parameter(torch.zeros(1, channels, 1, 1))
        self.scale2 = nn.Parameter(torch.ones(1, channels, 1, 1))

    def forward(self, z: Tensor) -> Tensor:
        """Bits of every element of z (N, C, h, w)."""
        centred, mix = z - self.mean, torch.sigmoid(self.mix)
        p1 = 2 ** -laplace_bits(centred, F.softplus(self.scale1) + SCALE_FLOOR)
        p2 = 2 ** -laplace_bits(centred, F.softplus(self.scale2) + SCALE_FLOOR)
        return -torch.log2((mix * p1 + (1 - mix) * p2).clamp_min(PROBABILITY_FLOOR))


def hyper_analysis(latents: int, hyper: int) -> nn.Sequential:
    """h_a: y (N, M, h, w), h and w multiples of 4, to z (N, hyper, h/4, w/4)."""
    act = nn.LeakyReLU(SLOPE)
    return nn.Sequential(
        nn.Conv2d(latents, hyper, 3, 1, 1), act, down(hyper, hyper), act, nn.Conv2d(hyper, hyper, 3, 1, 1), act, down(hyper, hyper)
    )


def hyper_synthesis(hyper: int, latents: int) -> nn.Sequential:
    """h_scale and h_mean: z_hat (N, hyper, h/4, w/4) to (N, M, h, w)."""
    return nn.Sequential(up(hyper, hyper, 3), nn.ReLU(), up(hyper, hyper, 3), nn.ReLU(), nn.Conv2d(hyper, latents, 3, 1, 1))


def scale_of(raw: Tensor) -> Tensor:
    """The Laplace scale b that the scale decoder's raw output stands for."""
    return F.softplus(raw) + SCALE_FLOOR
