"""The last phase: turn the float scale decoder into integers and train it, everything else frozen, until it costs next to nothing.

Forward, everything is rounded as in `models.entropy.exact`; backward, rounding is the identity (straight-through). The loss is the rate:
bits of the rounded residuals relative to what the float decoder would have paid.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from models.entropy.exact import ExactLayer, ExactScaleDecoder
from models.entropy.integer import ACTIVATION_LIMIT, EXACT, INPUT_LIMIT, RAW_LIMIT, SHIFT
from models.entropy.tables import Z_LIMIT, Tables, index_thresholds
from models.model import RAW_LOW, RAW_STEP, CodecModel, export, raw_lookup, scale_decoder_convolutions
from models.network.autoencoder import AutoEncoder, straight_through
from models.network.hyperprior import laplace_bits, scale_of
from models.network.precision import transform_autocast
from models.training.crops import CropSampler
from models.training.positions import sample_positions

WEIGHT_LIMIT = 127
TYPICAL_CROPS = 64  # behind what a significant latent costs
PSEUDO_COUNTS = 50.0  # weight of the trained prior of z against the counted values


class RoundedScaleDecoder(nn.Module):
    """A copy of a float `h_scale` that computes in the exact decoder's integers, held in floats, with straight-through gradients."""

    def __init__(self, h_scale: nn.Sequential) -> None:
        super().__init__()
        self._convolutions = [copy.deepcopy(convolution) for convolution in scale_decoder_convolutions(h_scale)]
        self.layers = nn.ModuleList(self._convolutions)
        self.log_steps = nn.Parameter(torch.zeros(2))  # of the two hidden activations

    @torch.no_grad()
    def calibrate(self, z_hat: Tensor) -> None:
        """Set the activations' steps so that the largest seen on z_hat (N, C, h, w) just fit."""
        x = z_hat
        for number in range(2):
            x = F.relu(self._convolutions[number](x))
            self.log_steps[number] = (x.max() / ACTIVATION_LIMIT).log()
            x = F.pixel_shuffle(x, 2)

    def _layer(self, number: int) -> tuple[Tensor, Tensor, Tensor]:
        """Integer weight and bias, and the requantisation ratio (out,)."""
        convolution = self._convolutions[number]
        weight, bias = convolution.weight, convolution.bias
        assert bias is not None  # every convolution here has one; torch's types cannot say so
        limit = INPUT_LIMIT if number == 0 else ACTIVATION_LIMIT
        unit_in = 1.0 if number == 0 else self.log_steps[number - 1].exp()
        unit_out = RAW_STEP if number == 2 else self.log_steps[number].exp()
        if number == 2:
            bias = bias - RAW_LOW
        # As fine as int8 allows, and no finer than sums under 2**24 allow: nine tenths for the weights, less than one for the bias.
        magnitude = weight.detach().abs()
        finest = torch.stack(
            [
                magnitude.amax((1, 2, 3)) / WEIGHT_LIMIT,
                magnitude.sum((1, 2, 3)) * limit / (0.9 * EXACT),
                bias.detach().abs() / (0.09 * EXACT * unit_in),
            ]
        )
        step = finest.amax(0).clamp_min(1e-8)
        integer_weight = straight_through(weight / step.view(-1, 1, 1, 1))
        integer_bias = straight_through(bias / (step * unit_in))
        return integer_weight, integer_bias, step * unit_in / unit_out

    def forward(self, z_hat: Tensor) -> Tensor:
        """Raw output (N, M, 4 h, 4 w), as `h_scale` gives, from integer z_hat."""
        x = z_hat.clamp(-INPUT_LIMIT, INPUT_LIMIT)
        for number in range(3):
            weight, bias, ratio = self._layer(number)
            scaled = F.conv2d(x, weight, bias, padding=1) * ratio.view(1, -1, 1, 1)
            x = straight_through(scaled).clamp(0, RAW_LIMIT if number == 2 else ACTIVATION_LIMIT)
            if number < 2:
                x = F.pixel_shuffle(x, 2)
        return RAW_LOW + RAW_STEP * x

    @torch.no_grad()
    def exact(self) -> ExactScaleDecoder:
        """The integers."""
        layers = []
        for number in range(3):
            weight, bias, ratio = self._layer(number)
            multiplier = (ratio * (1 << SHIFT)).round().clamp_min(1)
            layers.append(ExactLayer(weight.round().to(torch.int8), bias.round().to(torch.int32), multiplier.to(torch.int32)))
        return ExactScaleDecoder((layers[0], layers[1], layers[2]), raw_lookup(index_thresholds(), RAW_LIMIT + 1))


@torch.no_grad()
def _quantised(network: AutoEncoder, x: Tensor, quality: Tensor) -> tuple[Tensor, Tensor]:
    """z_hat and the rounded residuals of a batch, from the frozen network."""
    with transform_autocast(x.device):
        y = network.scaled(network.g_a(x).float(), quality)
        z_hat = network.side_information(y).round().clamp(-Z_LIMIT, Z_LIMIT)
        return z_hat, (y - network.mean(z_hat, *y.shape[-2:])).round()


def finish(
    network: AutoEncoder,
    sampler: CropSampler,
    *,
    steps: int = 600,
    batch: int = 4,
    learning_rate: float = 1e-4,
    report: Callable[[str], None] = print,
) -> CodecModel:
    """Train the integer scale decoder for `steps`, count the tables of z, and return the model ready to be saved."""
    network = network.eval().requires_grad_(False)
    anchors = network.topology.anchors - 1
    z_counts = np.zeros((network.topology.hyper, 2 * Z_LIMIT + 1))

    def draw() -> tuple[Tensor, Tensor]:
        return _quantised(network, sampler.batch(batch), sample_positions(batch) * anchors)

    rounded = RoundedScaleDecoder(network.h_scale)
    rounded.calibrate(torch.cat([draw()[0] for _ in range(8)]))
    optimizer = torch.optim.Adam(rounded.parameters(), learning_rate)
    excess: list[float] = []
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate * (1 - step / steps)
        z_hat, r_hat = draw()
        z_counts += np.stack([np.bincount(plane, minlength=2 * Z_LIMIT + 1) for plane in _per_channel(z_hat)])
        with torch.no_grad():
            float_bits = laplace_bits(r_hat, scale_of(network.h_scale(z_hat))).sum((1, 2, 3))
        bits = laplace_bits(r_hat, scale_of(rounded(z_hat))).sum((1, 2, 3))
        loss = (bits / float_bits.clamp_min(1.0)).mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        excess.append(float(bits.detach().sum() / float_bits.sum()) - 1)
        if (step + 1) % 50 == 0:
            report(f"scale decoder step {step + 1} of {steps}: {np.mean(excess[-50:]):+.3%} bits against the float decoder")
    tables = Tables.make(_z_probabilities(network, z_counts))
    return export(network, rounded.exact(), tables, bits_per_significant(network, sampler.batch(TYPICAL_CROPS)))


def _per_channel(z_hat: Tensor) -> NDArray[np.int64]:
    symbols: NDArray[np.int64] = (z_hat.transpose(0, 1).flatten(1).long() + Z_LIMIT).numpy()
    return symbols


@torch.no_grad()
def _z_probabilities(network: AutoEncoder, counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """The counted values of z (C, 2 * Z_LIMIT + 1) as probabilities, the trained prior standing in where little was counted."""
    values = torch.arange(-Z_LIMIT, Z_LIMIT + 1).float().view(1, 1, 1, -1).expand(1, len(counts), 1, -1)
    prior = 2.0 ** -network.prior_z(values)[0, :, 0].double().numpy()
    smoothed = counts + PSEUDO_COUNTS * prior
    probabilities: NDArray[np.float64] = smoothed / smoothed.sum(1, keepdims=True)
    return probabilities


@torch.no_grad()
def bits_per_significant(network: AutoEncoder, x: Tensor) -> Tensor:
    """Geometric mean over the images of x of bits per significant latent, at every anchor: (anchors,)."""
    significant = network.significant(network.g_a(x)).float() + 1
    costs = []
    for anchor in range(network.topology.anchors):
        z_hat, r_hat = _quantised(network, x, torch.full((len(x),), float(anchor)))
        bits = network.prior_z(z_hat).sum((1, 2, 3)) + laplace_bits(r_hat, scale_of(network.h_scale(z_hat))).sum((1, 2, 3))
        costs.append((bits / significant[:, anchor]).log().mean().exp())
    return torch.stack(costs)
