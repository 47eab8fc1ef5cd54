"""The whole network, written once: training, encoding and decoding call the same pieces.

    x --g_a--> y --*gain--> scaled y --(- mean)--> r --round--> r_hat       (zero-mean Laplacian)
                               |
                              h_a--> z --round--> z_hat --h_scale--> scale of the Laplacian
                                                    +-----h_mean---> mean, corrected pass by pass

    r_hat --(+ mean)--> *inverse_gain --> y_hat --g_s--> x_hat

The topology is that of Zhou et al., "Variational Autoencoder for Low Bit-rate Image Compression"
(CLIC 2018), made light enough to serve. Gain vectors, one per anchor and log-linear between them,
make the rate continuous: one model does the work of the paper's eight.

`anchor` is everywhere a place on that axis of gains: (N,), floats in [0, anchors - 1].
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.grid import HYPER_STRIDE, PASSES
from models.network.analysis import Analysis
from models.network.context import CONTEXT_IN_CHANNELS, CONTEXT_OUT_CHANNELS, MeanContext, pass_mask
from models.network.hyperprior import FactorizedPrior, hyper_analysis, hyper_synthesis, laplace_bits, scale_of
from models.network.synthesis import Synthesis


@dataclass(frozen=True, slots=True)
class Topology:
    """The sizes that fix the shape of every tensor.

    Attributes:
        widths: channels of the transforms at 1/4, 1/8 and 1/16 of the picture's size.
        depths: residual blocks there, in each transform.
        latents: channels M of y. 192 cap Kodak at 36 dB, 320 at 39.5 (bare DCT, not quantised).
        hyper: channels of z.
        anchors: gain vectors on the gain axis.
    """

    widths: tuple[int, int, int] = (96, 128, 192)
    latents: int = 320
    hyper: int = 96
    anchors: int = 12
    depths: tuple[int, int, int] = (1, 2, 2)

    @classmethod
    def restored(cls, stored: dict[str, Any]) -> Self:
        """Undo `dataclasses.asdict` and JSON. Raises TypeError for anything else."""
        restored: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in stored.items()
        }
        return cls(**restored)


class ResidualsOf(Protocol):
    """A source of residuals for `AutoEncoder.mean_in_context`, which needs them pass by pass.

    The encoder rounds the latents' distances from the means; the decoder has read the residuals and
    ignores the means. Both must answer alike, or their means part.
    """

    def __call__(self, mean: Tensor, /) -> Tensor:
        """Give r_hat of the lowest channels for these means of theirs.

        It is called once for each pass but the last, in their order, and not for what follows:
        whoever wants all residuals computes them from the means that `mean_in_context` returns.

        Args:
            mean: (N, C, h, w), in quantiser steps. Final at the places of this pass and of those
                before it (`pass_mask`), and preliminary elsewhere.

        Returns:
            r_hat (N, C, h, w). Only the places of this pass count; the others may hold anything.
            It must be differentiable by whatever gradients are wanted for.
        """


def pad_to_multiple(x: Tensor, multiple: int) -> Tensor:
    """Repeat the right and bottom border of x (N, C, H, W) up to multiples of `multiple`."""
    height, width = x.shape[-2:]
    bottom = -height % multiple
    right = -width % multiple
    return F.pad(x, (0, right, 0, bottom), mode="replicate") if bottom or right else x


def noisy(value: Tensor) -> Tensor:
    """Add uniform noise in [-1/2, 1/2): the quantiser's stand-in for the rate in training."""
    return value + torch.rand_like(value) - 0.5


def straight_through(value: Tensor) -> Tensor:
    """Round, with the gradient of the identity: the stand-in for the distortion in training."""
    return value + (torch.round(value) - value).detach()


class AutoEncoder(nn.Module):
    """g_a, h_a, h_scale, h_mean, the mean's context, g_s, the gains and the prior of z.

    Attributes:
        context_in_channels: lowest channels of the decoded latents that the mean's context sees.
        context_out_channels: lowest channels whose means it corrects; no fewer.
        gain, inverse_gain: logarithms (anchors, M) of the factors to quantiser steps and back.
    """

    def __init__(self, topology: Topology = Topology()) -> None:  # frozen
        super().__init__()
        self.topology = topology
        latents = topology.latents
        hyper = topology.hyper
        self.g_a = Analysis(topology.widths, latents, topology.depths)
        self.g_s = Synthesis(topology.widths, latents, topology.depths)
        self.h_a = hyper_analysis(latents, hyper)
        self.h_scale = hyper_synthesis(hyper, latents)
        self.h_mean = hyper_synthesis(hyper, latents)
        self.context_in_channels = min(CONTEXT_IN_CHANNELS, latents)
        self.context_out_channels = min(CONTEXT_OUT_CHANNELS, latents)
        self.context = nn.ModuleList(
            MeanContext(self.context_in_channels, self.context_out_channels) for _ in PASSES[1:]
        )
        self.prior_z = FactorizedPrior(hyper)
        # From 0.7 to 26, where uniform quantisation is optimal for the lambdas of the anchors.
        log_gain = (
            torch.linspace(math.log(0.7), math.log(26.0), topology.anchors).view(-1, 1).repeat(1, latents)
        )
        self.gain = nn.Parameter(log_gain.clone())
        self.inverse_gain = nn.Parameter(-log_gain.clone())

    def gain_at(self, log_gain: Tensor, anchor: Tensor) -> Tensor:
        """Interpolate `log_gain` (anchors, M) linearly at `anchor` (N,): gains (N, M, 1, 1)."""
        low = anchor.floor().clamp(0, self.topology.anchors - 2).long()
        t = (anchor - low)[:, None]
        return torch.exp(log_gain[low] * (1 - t) + log_gain[low + 1] * t)[:, :, None, None]

    def scaled(self, y: Tensor, anchor: Tensor) -> Tensor:
        """Give y (N, M, h, w) in quantiser steps."""
        return y * self.gain_at(self.gain, anchor)

    def significant(self, y: Tensor) -> Tensor:
        """Count the elements of y (N, M, h, w) above half a step at every anchor: (N, anchors).

        The rate is nearly proportional to that count plus one.
        """
        magnitude = y.detach().abs().movedim(1, -1)
        thresholds = 0.5 * torch.exp(-self.gain.detach())
        # Comparisons to float32, summed there, take a sixth of the time of counting booleans. They
        # are exact up to 2**24 elements an image; a tile has 5 million.
        above = torch.empty_like(magnitude)
        counts = [torch.gt(magnitude, row, out=above).sum((1, 2, 3)) for row in thresholds]
        return torch.stack(counts, 1).double()

    def side_information(self, y_scaled: Tensor) -> Tensor:
        """Compute z (N, hyper, ceil(h/4), ceil(w/4)), not rounded, from scaled y (N, M, h, w)."""
        z: Tensor = self.h_a(pad_to_multiple(y_scaled, HYPER_STRIDE))
        return z.float()

    def mean(self, z_hat: Tensor, height: int, width: int) -> Tensor:
        """Predict scaled y from z alone: (N, M, height, width)."""
        mean: Tensor = self.h_mean(z_hat)
        return mean[..., :height, :width].float()

    def mean_in_context(self, mean: Tensor, anchor: Tensor, residuals_of: ResidualsOf) -> Tensor:
        """Predict scaled y from z and from the latents that are decoded before it: (N, M, h, w).

        Args:
            mean: prediction from z alone (N, M, h, w).
            anchor: (N,).
            residuals_of: answers with the residuals of one pass after the other.
        """
        channels_in = self.context_in_channels
        from_z = mean[:, : self.context_out_channels]
        inverse_gain = self.gain_at(self.inverse_gain, anchor)[:, : self.context_out_channels]
        correction = torch.zeros_like(from_z)
        deviation = torch.zeros_like(from_z[:, :channels_in])  # of decoded latents from their `from_z`
        for number in range(len(PASSES)):
            mask = pass_mask(number, mean)
            if number:
                found = (
                    self.context[number - 1](deviation * inverse_gain[:, :channels_in]).float() / inverse_gain
                )
                correction = torch.where(mask, found, correction)
            if number < len(PASSES) - 1:
                corrected = correction[:, :channels_in]
                r_hat = residuals_of(from_z[:, :channels_in] + corrected)
                deviation = torch.where(mask, r_hat + corrected, deviation)
        return torch.cat([from_z + correction, mean[:, self.context_out_channels :]], 1)

    def dequantised(self, r_hat: Tensor, mean: Tensor, anchor: Tensor) -> Tensor:
        """Compute y_hat from decoded residuals and their means, all (N, M, h, w)."""
        return (r_hat + mean) * self.gain_at(self.inverse_gain, anchor)

    def reconstruct(self, r_hat: Tensor, mean: Tensor, anchor: Tensor) -> Tensor:
        """Compute x_hat (N, 3, 16 h, 16 w) from decoded residuals and their means (N, M, h, w)."""
        x_hat: Tensor = self.g_s(self.dequantised(r_hat, mean, anchor))
        return x_hat.float()

    def predicted(self, y: Tensor, anchor: Tensor, *, hard: bool = False) -> tuple[Tensor, Tensor, Tensor]:
        """Predict y (N, M, h, w) as the decoder will.

        Args:
            y: from g_a.
            anchor: (N,).
            hard: as in `forward`.

        Returns:
            Residuals, not rounded, and their means, both (N, M, h, w), and the estimated bits of
            the residuals and z together (N,).
        """
        for_rate = torch.round if hard else noisy
        for_distortion = torch.round if hard else straight_through
        y = self.scaled(y, anchor)
        z = self.side_information(y)
        z_hat = for_distortion(z)
        scale = scale_of(self.h_scale(z_hat).float())
        mean = self.mean(z_hat, *y.shape[-2:])
        mean = self.mean_in_context(mean, anchor, lambda low: for_distortion(y[:, : low.shape[1]] - low))
        r = y - mean
        return (
            r,
            mean,
            self.prior_z(for_rate(z)).sum((1, 2, 3)) + laplace_bits(for_rate(r), scale).sum((1, 2, 3)),
        )

    def forward(self, x: Tensor, anchor: Tensor, *, hard: bool = False) -> tuple[Tensor, Tensor]:
        """Encode and decode, and estimate the rate.

        Args:
            x: (N, 3, H, W) in [0, 1], H and W multiples of 64.
            anchor: (N,).
            hard: round as the codec does. Without it, noise stands for rounding in the rate, and
                the straight-through estimator in the distortion.

        Returns:
            Reconstruction (N, 3, H, W) and estimated bits (N,).
        """
        r, mean, bits = self.predicted(self.g_a(x).float(), anchor, hard=hard)
        r_hat = torch.round(r) if hard else straight_through(r)
        return self.reconstruct(r_hat, mean, anchor), bits
