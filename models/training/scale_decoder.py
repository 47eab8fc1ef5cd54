"""The last phase of training: the float scale decoder becomes integers, everything else is frozen.

The integers are trained until they cost next to nothing; then the context networks are trained,
and the entropy coder's tables are counted.

Forward, everything is rounded as in `models.entropy.scale_decoder_torch`; backward, rounding is the
identity (straight-through). The loss is the rate: bits of the rounded residuals relative to what
the float decoder would have paid.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from models.entropy.context_model import ContextModel
from models.entropy.scale_decoder import ACTIVATION_LIMIT, INPUT_LIMIT, RAW_LIMIT
from models.entropy.scale_decoder_torch import ExactLayer, ExactScaleDecoder
from models.entropy.tables import Z_LIMIT, index_thresholds
from models.grid import HYPER_PIXELS
from models.learned.encoder import Encoder
from models.learned.model import (
    RAW_LOW,
    RAW_STEP,
    CodecModel,
    export,
    raw_lookup,
    scale_decoder_convolutions,
)
from models.learned.transforms import TILE, Transforms
from models.network.autoencoder import AutoEncoder, straight_through
from models.network.hyperprior import laplace_bits, scale_of
from models.network.precision import transform_autocast
from models.picture import Picture
from models.rate_control import Target
from models.tensors import to_pixels
from models.training.context_model import trained_context_model
from models.training.crops import CropSampler
from models.training.positions import EMPHASISED_TO, sample_shares
from models.training.rounding import integers, rounded
from models.training.tables import Sample, counted, hyper_tables

LAYERS = 3
CALIBRATION_BATCHES = 8
TYPICAL_CROPS = 64  # that the bits of a significant latent are measured on
# Side in pixels of the crops that tables are counted on: most symbols have all their neighbours.
STATISTICS_SIDE = 320
REPORT_EVERY = 50  # steps


class RoundedScaleDecoder(nn.Module):
    """A copy of a float `h_scale` that computes in the exact decoder's integers.

    They are held in floats, with straight-through gradients.
    """

    def __init__(self, h_scale: nn.Sequential) -> None:
        super().__init__()
        self._convolutions = [copy.deepcopy(part) for part in scale_decoder_convolutions(h_scale)]
        self.layers = nn.ModuleList(self._convolutions)
        self.log_steps = nn.Parameter(torch.zeros(LAYERS - 1))  # of the hidden activations

    @torch.no_grad()
    def calibrate(self, z_hat: Tensor) -> None:
        """Set the activations' steps so that the largest seen on z_hat (N, C, h, w) just fit."""
        x = z_hat
        for number in range(LAYERS - 1):
            convolution = self._convolutions[number]
            x = F.relu(F.conv2d(x, convolution.weight, convolution.bias, padding=1))
            self.log_steps[number] = (x.max() / ACTIVATION_LIMIT).log()
            x = F.pixel_shuffle(x, 2)

    def forward(self, z_hat: Tensor) -> Tensor:
        """Compute raw output (N, M, 4 h, 4 w), as `h_scale`, from integer z_hat (N, C, h, w)."""
        x = z_hat.clamp(-INPUT_LIMIT, INPUT_LIMIT)
        for number in range(LAYERS):
            weight, bias, ratio = self._layer(number)
            scaled = F.conv2d(x, weight, bias, padding=1) * ratio.view(1, -1, 1, 1)
            is_last = number == LAYERS - 1
            x = straight_through(scaled).clamp(0, RAW_LIMIT if is_last else ACTIVATION_LIMIT)
            if not is_last:
                x = F.pixel_shuffle(x, 2)
        return RAW_LOW + RAW_STEP * x

    @torch.no_grad()
    def exact(self) -> ExactScaleDecoder:
        """Make the integer decoder that computes the same."""
        parts = (integers(*self._layer(number)) for number in range(LAYERS))
        first, second, third = (
            ExactLayer(weight.to(torch.int8), bias, multiplier) for weight, bias, multiplier in parts
        )
        return ExactScaleDecoder((first, second, third), raw_lookup(index_thresholds(), RAW_LIMIT + 1))

    def _layer(self, number: int) -> tuple[Tensor, Tensor, Tensor]:
        """Round a layer: weight (out, in, 3, 3), bias (out,) and requantisation ratio (out,)."""
        convolution = self._convolutions[number]
        bias = convolution.bias
        assert bias is not None  # every convolution here has one; torch's types cannot say so
        is_first = number == 0
        is_last = number == LAYERS - 1
        unit_in = 1.0 if is_first else self.log_steps[number - 1].exp()
        unit_out = RAW_STEP if is_last else self.log_steps[number].exp()
        weight, bias, step = rounded(
            convolution.weight,
            bias - RAW_LOW if is_last else bias,
            INPUT_LIMIT if is_first else ACTIVATION_LIMIT,
            unit_in,
        )
        return weight, bias, step * unit_in / unit_out


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
    """Make a trained network ready to be saved: integers, context networks, counted tables.

    Args:
        network: frozen by this.
        sampler: draws the crops that the scale decoder is trained on.
        steps: of the scale decoder's training.
        batch: crops of a step.
        learning_rate: of the scale decoder's training, at its start; it falls to 0.
        context_crops: crops, larger ones, that the context networks are trained and the tables
            counted on.
        context_steps: of the context networks' training.
        emphasised_to: as in `Recipe`; positions are drawn as in training.
        report: told how training goes.
    """
    network = network.eval().requires_grad_(False)
    last_anchor = network.topology.anchors - 1

    def draw(source: CropSampler, count: int) -> tuple[Tensor, Tensor]:
        anchor = sample_shares(count, emphasised_to) * last_anchor
        return quantised(network, source.batch(count), anchor)

    decoder = _trained_scale_decoder(
        network,
        lambda: draw(sampler, batch),
        steps=steps,
        learning_rate=learning_rate,
        report=report,
    )
    larger = _statistics_sampler(sampler)
    batches = -(-context_crops // batch)
    tables = hyper_tables(network.prior_z, torch.cat([draw(larger, batch)[0] for _ in range(batches)]))
    significant = bits_per_significant(network, sampler.batch(TYPICAL_CROPS))
    draft = export(network, decoder.exact(), tables, ContextModel.identity(), significant)
    encoder = Encoder(draft, Transforms(draft, torch.device("cpu"), bfloat16=None, tile=TILE))
    sample = [symbols(encoder, larger, sample_shares(batch, emphasised_to)) for _ in range(batches)]
    return with_context(draft, sample, steps=context_steps, report=report)


@torch.no_grad()
def quantised(network: AutoEncoder, x: Tensor, anchor: Tensor) -> tuple[Tensor, Tensor]:
    """Quantise crops (N, 3, H, W) at places (N,) among the gain anchors.

    Returns:
        z_hat: (N, C, h/4, w/4).
        r_hat: rounded residuals (N, M, h, w).
    """
    with transform_autocast(x.device):
        y = network.g_a(x).float()
        r, _, _ = network.predicted(y, anchor, hard=True)
        z = network.side_information(network.scaled(y, anchor))
        return z.round().clamp(-Z_LIMIT, Z_LIMIT), r.round()


def symbols(encoder: Encoder, sampler: CropSampler, shares: Tensor) -> tuple[Tensor, Tensor]:
    """Quantise crops at `shares` (N,) of the gain axis as the encoder does.

    Its context networks must be empty: then its tables are the scale decoder's.

    Returns:
        indices: of tables, by the scale decoder, uint8 (N, M, h, w).
        residuals: int16 (N, M, h, w).
    """
    targets = [Target(quality=100 * float(share)) for share in shares]
    pictures = [Picture.from_array(pixels) for pixels in to_pixels(sampler.batch(len(targets)))]
    found = encoder.quantise(pictures, targets, [None] * len(targets))
    indices = np.stack([picture.tables for picture in found])
    residuals = np.stack([picture.symbols.residuals for picture in found])
    return torch.from_numpy(indices), torch.from_numpy(residuals)


def with_context(
    model: CodecModel, sample: Sample, *, steps: int, report: Callable[[str], None] = print
) -> CodecModel:
    """Train context networks on a sample of the model's symbols, and count its tables on it."""
    laplace = counted(model.tables, ContextModel.identity(), sample)
    context_model = trained_context_model(laplace, sample, steps=steps, report=report)
    tables = counted(model.tables, context_model, sample)
    return export(model.network, model.scale_decoder, tables, context_model, model.bits_per_significant)


@torch.no_grad()
def bits_per_significant(network: AutoEncoder, x: Tensor) -> Tensor:
    """Measure the bits of a significant latent at every anchor: (anchors,).

    They are the geometric mean over the images x (N, 3, H, W).
    """
    y = network.g_a(x)
    significant = network.significant(y).float() + 1
    costs = []
    for anchor in range(network.topology.anchors):
        _, _, bits = network.predicted(y, torch.full((len(x),), float(anchor)), hard=True)
        costs.append((bits / significant[:, anchor]).log().mean().exp())
    return torch.stack(costs)


def _trained_scale_decoder(
    network: AutoEncoder,
    draw: Callable[[], tuple[Tensor, Tensor]],
    *,
    steps: int,
    learning_rate: float,
    report: Callable[[str], None],
) -> RoundedScaleDecoder:
    """Train the integers on batches of z_hat and residuals, as `quantised` makes them."""
    decoder = RoundedScaleDecoder(network.h_scale)
    decoder.calibrate(torch.cat([draw()[0] for _ in range(CALIBRATION_BATCHES)]))
    optimizer = torch.optim.Adam(decoder.parameters(), learning_rate)
    scheduler = LambdaLR(optimizer, lambda step: 1 - step / max(1, steps))
    excess: list[float] = []
    for step in range(1, steps + 1):
        z_hat, r_hat = draw()
        with torch.no_grad():
            float_bits = laplace_bits(r_hat, scale_of(network.h_scale(z_hat))).sum((1, 2, 3))
        bits = laplace_bits(r_hat, scale_of(decoder(z_hat))).sum((1, 2, 3))
        loss = (bits / float_bits.clamp_min(1.0)).mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        scheduler.step()
        excess.append(float(bits.detach().sum() / float_bits.sum()) - 1)
        if step % REPORT_EVERY == 0:
            mean = np.mean(excess[-REPORT_EVERY:])
            report(f"scale decoder step {step} of {steps}: {mean:+.3%} bits against the float decoder")
    return decoder


def _statistics_sampler(sampler: CropSampler) -> CropSampler:
    """Sample crops of STATISTICS_SIDE pixels, or of whole hyper-latents of the smallest picture."""
    return sampler.of_side(min(STATISTICS_SIDE, sampler.room) // HYPER_PIXELS * HYPER_PIXELS)
