"""The last phase: turn the float scale decoder into integers and train it, everything else frozen, until it costs next to nothing; then
train the context networks, and count what the entropy coder's tables say.

Forward, everything is rounded as in `models.entropy.scale_decoder_torch`; backward, rounding is the identity (straight-through). The loss is the rate:
bits of the rounded residuals relative to what the float decoder would have paid.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.entropy.context_model import ContextModel
from models.entropy.scale_decoder import ACTIVATION_LIMIT, INPUT_LIMIT, RAW_LIMIT
from models.entropy.scale_decoder_torch import ExactLayer, ExactScaleDecoder
from models.entropy.tables import Z_LIMIT, index_thresholds
from models.learned.encoder import Encoder
from models.learned.model import RAW_LOW, RAW_STEP, CodecModel, export, raw_lookup, scale_decoder_convolutions
from models.learned.transforms import TILE, Transforms
from models.network.autoencoder import AutoEncoder, straight_through
from models.network.hyperprior import laplace_bits, scale_of
from models.network.precision import transform_autocast
from models.picture import Picture
from models.rate_control import Target
from models.training.context_model import trained_context_model
from models.training.crops import CropSampler
from models.training.positions import EMPHASISED_TO, sample_positions
from models.training.rounding import integers, rounded
from models.training.tables import Sample, counted, hyper_tables

TYPICAL_CROPS = 64  # behind what a significant latent costs
STATISTICS = 320  # side of the crops that the tables are counted on


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
        weight, bias, step = rounded(weight, bias, limit, unit_in)
        return weight, bias, step * unit_in / unit_out

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
        parts = (integers(*self._layer(number)) for number in range(3))
        first, second, third = (ExactLayer(weight.to(torch.int8), bias, multiplier) for weight, bias, multiplier in parts)
        return ExactScaleDecoder((first, second, third), raw_lookup(index_thresholds(), RAW_LIMIT + 1))


@torch.no_grad()
def quantised(network: AutoEncoder, x: Tensor, quality: Tensor) -> tuple[Tensor, Tensor]:
    """z_hat and the rounded residuals of a batch, from the frozen network."""
    with transform_autocast(x.device):
        y = network.g_a(x).float()
        r, _, _ = network.predicted(y, quality, hard=True)
        return network.side_information(network.scaled(y, quality)).round().clamp(-Z_LIMIT, Z_LIMIT), r.round()


def finish(
    network: AutoEncoder,
    sampler: CropSampler,
    *,
    steps: int = 600,
    batch: int = 4,
    learning_rate: float = 1e-4,
    context_crops: int = 1600,
    context_steps: int = 2000,
    emphasised_to: float = EMPHASISED_TO,
    report: Callable[[str], None] = print,
) -> CodecModel:
    """Train the integer scale decoder for `steps`, the context networks for `context_steps`, count the tables: the model ready to be saved.

    The latter two are of `context_crops` crops of STATISTICS pixels, so that most symbols have all their neighbours. Qualities are
    drawn as in training, `emphasised_to` as in `Recipe`.
    """
    network = network.eval().requires_grad_(False)
    anchors = network.topology.anchors - 1

    def draw(source: CropSampler, count: int) -> tuple[Tensor, Tensor]:
        return quantised(network, source.batch(count), sample_positions(count, emphasised_to) * anchors)

    rounded = RoundedScaleDecoder(network.h_scale)
    rounded.calibrate(torch.cat([draw(sampler, batch)[0] for _ in range(8)]))
    optimizer = torch.optim.Adam(rounded.parameters(), learning_rate)
    excess: list[float] = []
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate * (1 - step / steps)
        z_hat, r_hat = draw(sampler, batch)
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
    larger = CropSampler(sampler.pictures, min(STATISTICS, *(min(p.shape[:2]) for p in sampler.pictures)) // 64 * 64, sampler.rng)
    batches = -(-context_crops // batch)
    tables = hyper_tables(network.prior_z, torch.cat([draw(larger, batch)[0] for _ in range(batches)]))
    significant = bits_per_significant(network, sampler.batch(TYPICAL_CROPS))
    draft = export(network, rounded.exact(), tables, ContextModel.identity(), significant)
    sample = [symbols(draft, larger, sample_positions(batch, emphasised_to)) for _ in range(batches)]
    return with_context(draft, sample, steps=context_steps, report=report)


def symbols(model: CodecModel, sampler: CropSampler, positions: Tensor) -> tuple[Tensor, Tensor]:
    """Table indices and residuals (N, M, h, w) of crops at `positions` (N,) on the gain axis, as the encoder makes them."""
    targets = [Target(quality=100 * float(position)) for position in positions]
    encoder = Encoder(model, Transforms(model, torch.device("cpu"), bfloat16=None, tile=TILE))
    found = encoder.quantise([Picture.from_array(np.ascontiguousarray(sampler.crop())) for _ in targets], targets, [None] * len(targets))
    indices, residuals = [one.indices for one in found], [one.symbols.residuals for one in found]
    return torch.from_numpy(np.stack(indices)), torch.from_numpy(np.stack(residuals))


def with_context(model: CodecModel, sample: Sample, *, steps: int, report: Callable[[str], None] = print) -> CodecModel:
    """The same model with context networks trained, and residuals' tables counted, on a sample of its symbols."""
    seen = counted(model.tables, ContextModel.identity(), sample)
    context_model = trained_context_model(seen, sample, steps=steps, report=report)
    return export(
        model.network, model.scale_decoder, counted(model.tables, context_model, sample), context_model, model.bits_per_significant
    )


@torch.no_grad()
def bits_per_significant(network: AutoEncoder, x: Tensor) -> Tensor:
    """Geometric mean over the images of x of bits per significant latent, at every anchor: (anchors,)."""
    y = network.g_a(x)
    significant = network.significant(y).float() + 1
    costs = []
    for anchor in range(network.topology.anchors):
        _, _, bits = network.predicted(y, torch.full((len(x),), float(anchor)), hard=True)
        costs.append((bits / significant[:, anchor]).log().mean().exp())
    return torch.stack(costs)
