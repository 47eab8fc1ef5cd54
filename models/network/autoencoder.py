"""The whole network, written once: training, encoding and decoding call the same pieces.

    x --g_a--> y --*gain--> y_g --(- mean)--> r --round--> r_hat --(+ mean)--> *inverse_gain --> y_hat --g_s--> x_hat
                             |                ^ zero-mean Laplacian
                             h_a--> z --round--> z_hat --h_scale--> scale
                                                   +-----h_mean---> mean, then corrected by the y_hat of earlier passes

The topology is that of Zhou et al., "Variational Autoencoder for Low Bit-rate Image Compression" (CLIC 2018), made light enough to
serve; per-channel gain vectors, log-linear between anchors, make the rate continuous (one model instead of the paper's eight).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.grid import HYPER_STRIDE, PASSES
from models.network.analysis import Analysis
from models.network.context import SEEN, TOLD, MeanContext, pass_mask
from models.network.hyperprior import FactorizedPrior, hyper_analysis, hyper_synthesis, laplace_bits, scale_of
from models.network.synthesis import Synthesis


@dataclass(frozen=True, slots=True)
class Topology:
    """What fixes every tensor's shape.

    Attributes:
        widths: channels of the transforms at 1/4, 1/8 and 1/16.
        depths: residual blocks there, in each transform.
        latents: channels of y. 192 cap Kodak at 36 dB, 320 at 39.5 (bare DCT base, no quantisation).
        hyper: channels of z.
        anchors: gain vectors on the gain axis; a quality is a float in [0, anchors - 1].
    """

    widths: tuple[int, int, int] = (96, 128, 192)
    latents: int = 320
    hyper: int = 96
    anchors: int = 12
    depths: tuple[int, int, int] = (1, 2, 2)

    @classmethod
    def restored(cls, stored: dict[str, Any]) -> Self:
        """From what `dataclasses.asdict` and JSON made of it; TypeError for what is none."""
        restored: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in stored.items()}
        return cls(**restored)


def pad_to_multiple(x: Tensor, multiple: int) -> Tensor:
    """(N, C, H, W) extended at the right and the bottom by replication to multiples of `multiple`."""
    height, width = x.shape[-2:]
    bottom, right = -height % multiple, -width % multiple
    return F.pad(x, (0, right, 0, bottom), mode="replicate") if bottom or right else x


def noisy(value: Tensor) -> Tensor:
    """Additive uniform noise, the quantiser's stand-in for the rate term in training."""
    return value + torch.rand_like(value) - 0.5


def straight_through(value: Tensor) -> Tensor:
    """round() whose gradient is the identity, for the distortion term in training."""
    return value + (torch.round(value) - value).detach()


class AutoEncoder(nn.Module):
    """g_a, h_a, h_scale, h_mean, the mean's context, g_s, the gains and the prior of z."""

    def __init__(self, topology: Topology = Topology()) -> None:  # frozen
        super().__init__()
        self.topology = topology
        latents, hyper = topology.latents, topology.hyper
        self.g_a = Analysis(topology.widths, latents, topology.depths)
        self.g_s = Synthesis(topology.widths, latents, topology.depths)
        self.h_a = hyper_analysis(latents, hyper)
        self.h_scale = hyper_synthesis(hyper, latents)
        self.h_mean = hyper_synthesis(hyper, latents)
        self.seen, self.told = min(SEEN, latents), min(TOLD, latents)  # by the mean's context
        self.context = nn.ModuleList(MeanContext(self.seen, self.told) for _ in PASSES[1:])
        self.prior_z = FactorizedPrior(hyper)
        # Where uniform quantisation is optimal for the lambdas of the anchors: loss after 500 steps 0.87 against 1.31 for 8 to 64.
        log_gain = torch.linspace(math.log(0.7), math.log(26.0), topology.anchors).view(-1, 1).repeat(1, latents)
        self.gain = nn.Parameter(log_gain.clone())
        self.inverse_gain = nn.Parameter(-log_gain.clone())

    def gain_at(self, log_gain: Tensor, quality: Tensor) -> Tensor:
        """Per-channel gains (N, M, 1, 1) for `quality` (N,) in [0, anchors - 1], log-linear between the anchors."""
        low = quality.floor().clamp(0, self.topology.anchors - 2).long()
        t = (quality - low)[:, None]
        return torch.exp(log_gain[low] * (1 - t) + log_gain[low + 1] * t)[:, :, None, None]

    def scaled(self, y: Tensor, quality: Tensor) -> Tensor:
        """y in units of the quantiser's step: (N, M, h, w)."""
        return y * self.gain_at(self.gain, quality)

    def significant(self, y: Tensor) -> Tensor:
        """How many elements of scaled y exceed 1/2 at every anchor: (N, anchors). The rate is nearly proportional to it, plus one."""
        magnitude = y.abs()
        counts = [torch.count_nonzero(magnitude > 0.5 * torch.exp(-row)[:, None, None], (1, 2, 3)) for row in self.gain]
        return torch.stack(counts, 1).double()

    def side_information(self, y_scaled: Tensor) -> Tensor:
        """z, unrounded: (N, hyper, ceil(h/4), ceil(w/4))."""
        z: Tensor = self.h_a(pad_to_multiple(y_scaled, HYPER_STRIDE))
        return z.float()

    def mean(self, z_hat: Tensor, height: int, width: int) -> Tensor:
        """The prediction of scaled y from z alone: (N, M, height, width)."""
        mean: Tensor = self.h_mean(z_hat)
        return mean[..., :height, :width].float()

    def mean_in_context(self, mean: Tensor, quality: Tensor, residual: Callable[[Tensor], Tensor]) -> Tensor:
        """The prediction of scaled y from z and from what is decoded before it: (N, M, h, w).

        Args:
            mean: from z alone.
            quality: (N,).
            residual: r_hat of the lowest channels (N, seen, h, w) for these means of theirs; it matters where they are final.
        """
        unit = self.gain_at(self.inverse_gain, quality)[:, : self.told]  # of the image, in quantiser steps
        low, rest = mean[:, : self.told], mean[:, self.told :]
        correction = torch.zeros_like(low)
        deviation = torch.zeros_like(low[:, : self.seen])
        for number in range(len(PASSES)):
            mask = pass_mask(number, mean)
            if number:
                correction = torch.where(mask, self.context[number - 1](deviation * unit[:, : self.seen]).float() / unit, correction)
            known = correction[:, : self.seen]
            if number < len(PASSES) - 1:
                deviation = torch.where(mask, residual(low[:, : self.seen] + known) + known, deviation)
        return torch.cat([low + correction, rest], 1)

    def dequantised(self, r_hat: Tensor, mean: Tensor, quality: Tensor) -> Tensor:
        """y_hat (N, M, h, w) from the decoded residual and its prediction."""
        return (r_hat + mean) * self.gain_at(self.inverse_gain, quality)

    def reconstruct(self, r_hat: Tensor, mean: Tensor, quality: Tensor) -> Tensor:
        """x_hat (N, 3, 16 h, 16 w) from the decoded residual and its prediction."""
        x_hat: Tensor = self.g_s(self.dequantised(r_hat, mean, quality))
        return x_hat.float()

    def predicted(self, y: Tensor, quality: Tensor, *, hard: bool = False) -> tuple[Tensor, Tensor, Tensor]:
        """Residuals r (N, M, h, w), unrounded, of y, their means, and the estimated bits (N,) of r and z; `hard` as in `forward`."""
        for_rate = torch.round if hard else noisy
        for_distortion = torch.round if hard else straight_through
        y = self.scaled(y, quality)
        z = self.side_information(y)
        z_hat = for_distortion(z)
        scale = scale_of(self.h_scale(z_hat).float())
        mean = self.mean(z_hat, *y.shape[-2:])
        mean = self.mean_in_context(mean, quality, lambda low: for_distortion(y[:, : low.shape[1]] - low))
        r = y - mean
        return r, mean, self.prior_z(for_rate(z)).sum((1, 2, 3)) + laplace_bits(for_rate(r), scale).sum((1, 2, 3))

    def forward(self, x: Tensor, quality: Tensor, *, hard: bool = False) -> tuple[Tensor, Tensor]:
        """Reconstruction (N, 3, H, W) and estimated bits (N,) of x (N, 3, H, W) in [0, 1], H and W multiples of 64.

        With `hard` everything is rounded as in the codec; otherwise noise stands for rounding in the rate and the straight-through
        estimator in the distortion.
        """
        r, mean, bits = self.predicted(self.g_a(x).float(), quality, hard=hard)
        r_hat = torch.round(r) if hard else straight_through(r)
        return self.reconstruct(r_hat, mean, quality), bits
