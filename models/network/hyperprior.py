"""The hyperprior: side information z gives scales to the entropy coder and means to the pixels.

    y * gain --h_a--> z --round--> z_hat --h_scale--> scale of each element of y, as a table's index
                                     |                (entropy-critical: integers)
                                     +-----h_mean---> mean of each element of y
                                                      (float, never entropy-critical)

The residual round(y - mean) is coded with a zero-mean Laplacian (Zhou et al. 2018, eq. 2). The mean
only shifts the reconstruction. So float differences between devices cannot desynchronise the coder.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.network.blocks import NEGATIVE_SLOPE, Convolution, down, up

SCALE_FLOOR = 0.02  # the smallest Laplace scale b in training, in quantiser steps: "surely zero"
PROBABILITY_FLOOR = 1e-9  # of any value: none costs more than 30 bits in training


def laplace_bits(value: Tensor, scale: Tensor) -> Tensor:
    """Estimate the bits of values under zero-mean Laplacians of scale b (Zhou et al. 2018, eq. 1).

    The density is integrated over [value - 1/2, value + 1/2]. Shapes broadcast.
    """

    def cdf(t: Tensor) -> Tensor:
        return torch.where(
            t < 0, 0.5 * torch.exp(t.clamp(max=0) / scale), 1 - 0.5 * torch.exp(-t.clamp(min=0) / scale)
        )

    value = -value.abs()  # the lower tail keeps its precision
    return -torch.log2((cdf(value + 0.5) - cdf(value - 0.5)).clamp_min(PROBABILITY_FLOOR))


class FactorizedPrior(nn.Module):
    """The prior of z: per channel, a mixture of two Laplacians with a common mean.

    An exported model has integer tables in its place (`models.training.tables.hyper_tables`).

    Args:
        channels: of z.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mean = nn.Parameter(torch.zeros(1, channels, 1, 1))
        self.mix = nn.Parameter(torch.zeros(1, channels, 1, 1))
        self.scale1 = nn.Parameter(torch.zeros(1, channels, 1, 1))
        self.scale2 = nn.Parameter(torch.ones(1, channels, 1, 1))

    def forward(self, z: Tensor) -> Tensor:
        """Estimate the bits of every element of z (N, C, h, w), in its shape."""
        centred = z - self.mean
        mix = torch.sigmoid(self.mix)
        p1 = 2 ** -laplace_bits(centred, F.softplus(self.scale1) + SCALE_FLOOR)
        p2 = 2 ** -laplace_bits(centred, F.softplus(self.scale2) + SCALE_FLOOR)
        return -torch.log2((mix * p1 + (1 - mix) * p2).clamp_min(PROBABILITY_FLOOR))


def hyper_analysis(latents: int, hyper: int) -> nn.Sequential:
    """Make h_a: y (N, latents, h, w), h and w multiples of 4, to z (N, hyper, h/4, w/4)."""
    act = nn.LeakyReLU(NEGATIVE_SLOPE)
    return nn.Sequential(
        Convolution(latents, hyper, 3, 1, 1),
        act,
        down(hyper, hyper),
        act,
        Convolution(hyper, hyper, 3, 1, 1),
        act,
        down(hyper, hyper),
    )


def hyper_synthesis(hyper: int, latents: int) -> nn.Sequential:
    """Make h_scale or h_mean: z_hat (N, hyper, h/4, w/4) to (N, latents, h, w)."""
    return nn.Sequential(
        up(hyper, hyper, 3),
        nn.ReLU(),
        up(hyper, hyper, 3),
        nn.ReLU(),
        Convolution(hyper, latents, 3, 1, 1),
    )


def scale_of(raw: Tensor) -> Tensor:
    """Convert the raw output of h_scale, any shape, to Laplace scales b in quantiser steps."""
    return F.softplus(raw) + SCALE_FLOOR
