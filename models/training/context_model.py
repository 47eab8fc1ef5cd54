"""Training the context model: the networks of `models.entropy.context_model`.

They are trained on symbols as the encoder makes them. Forward, everything is rounded as in the
integers; backward, rounding is the identity (straight-through). The loss is the rate: bits of the
residuals under the tables that the networks choose, linear between two neighbouring tables.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from models.entropy.context_model import (
    INPUT_LIMIT,
    MAX_INDEX_SHIFT,
    ContextModel,
    Known,
    Layer,
    Network,
    known_before,
    magnitude_level,
    network_inputs,
)
from models.entropy.scale_decoder import ACTIVATION_LIMIT
from models.entropy.tables import LAPLACE_TABLES, LARGEST_SUPPORT, Tables
from models.grid import PASSES
from models.network.autoencoder import straight_through
from models.training.rounding import integers, rounded
from models.training.tables import Sample

BAND_STARTS = (0, 4, 12, 36, 108)  # each costs a call of the coder for every table in it
HIDDEN = 64  # channels of either hidden layer
BATCH = 1024  # places of each pass
WARMUP = 50  # steps
REPORT_EVERY = 100  # steps
FIRST_LAST_WEIGHT = 0.1  # factor of the last layer's weights at the start: nearly no shift
# Real values that an integer of 1 stands for: in the inputs, either hidden layer, the shift.
UNITS = (1 / 16, 1 / 32, 1 / 32, 1 / 8)


class RoundedNetwork(nn.Module):
    """A context network that computes in its integers, held in floats, with gradients.

    Args:
        centre: integers near the inputs' means (in,); weights are trained on the difference.
        outputs: channels of the band.
    """

    def __init__(self, centre: Tensor, outputs: int) -> None:
        super().__init__()
        self._centre = centre
        self._dense = [
            nn.Linear(len(centre), HIDDEN),
            nn.Linear(HIDDEN, HIDDEN),
            nn.Linear(HIDDEN, outputs),
        ]
        self.layers = nn.ModuleList(self._dense)
        self._dense[-1].weight.data.mul_(FIRST_LAST_WEIGHT)
        self._dense[-1].bias.data.zero_()

    def forward(self, x: Tensor) -> Tensor:
        """Compute shifts (n, out), not rounded, from integer inputs (n, in)."""
        for number in range(len(self._dense)):
            weight, bias, ratio = self._layer(number)
            x = F.linear(x, weight, bias) * ratio
            if number < len(self._dense) - 1:
                x = straight_through(x).clamp(0, ACTIVATION_LIMIT)
        return x.clamp(-MAX_INDEX_SHIFT, MAX_INDEX_SHIFT)

    @torch.no_grad()
    def exact(self) -> Network:
        """Make the integer layers that compute the same."""
        layers = (integers(*self._layer(number)) for number in range(len(self._dense)))
        return tuple(Layer.of(*(part.numpy() for part in layer)) for layer in layers)

    def _layer(self, number: int) -> tuple[Tensor, Tensor, Tensor]:
        """Round a layer: weight (out, in), bias (out,) and requantisation ratio (out,)."""
        dense = self._dense[number]
        limit = ACTIVATION_LIMIT if number else INPUT_LIMIT
        weight, bias, step = rounded(dense.weight, dense.bias, limit, UNITS[number])
        if number == 0:
            bias = bias - weight @ self._centre
        return weight, bias, step * UNITS[number] / UNITS[number + 1]


@dataclass(frozen=True, slots=True, eq=False)
class _Places:
    """The places of one pass in all pictures, each as a picture of its own.

    Attributes:
        known: (n, M, 1, 1), see `Known`.
        residuals: int16 (n, M, 1, 1).
        weight: of their bits (n,): loud pictures have many, and must not drown the quiet ones.
    """

    known: Known[Tensor]
    residuals: Tensor
    weight: Tensor

    @classmethod
    def from_sample(cls, number: int, sample: Sample, bits: Tensor) -> _Places:
        """Take all places of the pass `number`; `bits` are those of (tables, magnitudes)."""
        parts = []
        for indices, residuals in sample:
            places = indices.shape[-2] * indices.shape[-1]
            cost = _bits(bits, indices, residuals).sum((1, 2, 3)) / places
            weight = (1 + cost).rsqrt()[:, None, None, None]
            for row, column in PASSES[number]:
                known = known_before(indices, magnitude_level(residuals), (row, column))
                own = residuals[..., row::2, column::2]
                weights = weight.expand(-1, 1, *own.shape[-2:])
                parts.append([known.indices, *known.around, own, weights])
        indices, *around, residuals, weight = map(_joined, zip(*parts, strict=True))
        return cls(Known(number, indices, tuple(around)), residuals, weight.flatten())

    def drawn(self, count: int) -> _Places:
        """Draw so many of them, with replacement."""
        rows = torch.randint(len(self.residuals), (count,))
        around = tuple(part[rows] for part in self.known.around)
        known = Known(self.known.number, self.known.indices[rows], around)
        return _Places(known, self.residuals[rows], self.weight[rows])


def trained_context_model(
    tables: Tables,
    sample: Sample,
    *,
    steps: int,
    learning_rate: float = 4e-3,
    band_starts: Sequence[int] = BAND_STARTS,
    report: Callable[[str], None] = lambda _: None,
) -> ContextModel:
    """Train networks that make such a sample cheapest under these tables.

    Args:
        tables: those that the networks choose among.
        sample: symbols as the encoder makes them.
        steps: of training.
        learning_rate: at its height, after the warm-up; it falls to 0.
        band_starts: first channel of every band; those beyond the sample's channels are left out.
        report: told how training goes.
    """
    bits = torch.from_numpy(tables.laplace_bits())
    sample = [(indices, (residuals * (indices > 0)).short()) for indices, residuals in sample]
    channels = sample[0][0].shape[1]
    draft = ContextModel(tuple(start for start in band_starts if start < channels), ())
    places = [_Places.from_sample(number, sample, bits) for number in range(len(PASSES))]
    networks = [_untrained(draft, of_pass, channels) for of_pass in places]
    parameters = [weight for of_pass in networks for network in of_pass for weight in network.parameters()]
    optimizer = torch.optim.Adam(parameters, learning_rate)
    scheduler = LambdaLR(optimizer, lambda step: min((step + 1) / WARMUP, 1 - step / max(1, steps)))
    changes: list[float] = []
    for step in range(1, steps + 1):
        optimizer.zero_grad(set_to_none=True)
        spent = [
            _backward(draft, of_pass, part.drawn(BATCH), bits)
            for of_pass, part in zip(networks, places, strict=True)
        ]
        optimizer.step()
        scheduler.step()
        with_context, without = np.sum(spent, 0)
        changes.append(with_context / without - 1)
        if step % REPORT_EVERY == 0:
            mean = np.mean(changes[-REPORT_EVERY:])
            report(
                f"context networks step {step} of {steps}: {mean:+.2%} bits against the scale decoder alone"
            )
    exact = tuple(tuple(network.exact() for network in of_pass) for of_pass in networks)
    return ContextModel(draft.band_starts, exact)


def _untrained(draft: ContextModel, places: _Places, channels: int) -> list[RoundedNetwork]:
    """Make the networks of one pass, one for each band."""
    networks = []
    for band, own in draft.bands():
        centre = _inputs(draft, places.drawn(BATCH), band).mean(0).round()
        networks.append(RoundedNetwork(centre, len(range(channels)[own])))
    return networks


def _backward(
    draft: ContextModel, networks: Sequence[RoundedNetwork], places: _Places, bits: Tensor
) -> tuple[float, float]:
    """Add the gradients of one pass's networks on some of its places.

    Returns:
        The bits of these places' residuals, with the networks and without.
    """
    spent = 0.0
    without = 0.0
    for band, own in draft.bands():
        indices = places.known.indices[:, own, 0, 0]
        residuals = places.residuals[:, own, 0, 0]
        cost = _bits(bits, indices, residuals, networks[band](_inputs(draft, places, band)))
        loss = (cost.sum(1) * places.weight).mean()
        loss.backward()  # type: ignore[no-untyped-call]
        spent += float(cost.detach().sum())
        without += float(_bits(bits, indices, residuals).sum())
    return spent, without


def _inputs(context_model: ContextModel, places: _Places, band: int) -> Tensor:
    """Gather the inputs (n, channels) of a band's network."""
    levels = magnitude_level(places.residuals)
    return network_inputs(places.known, levels, context_model.band(band))[..., 0]


def _joined(parts: Sequence[Tensor]) -> Tensor:
    """Make places (n, C, 1, 1) of planes (N, C, h, w)."""
    places = [part.permute(0, 2, 3, 1).flatten(0, 2) for part in parts]
    return torch.cat(places)[..., None, None]


def _bits(bits: Tensor, indices: Tensor, residuals: Tensor, shift: Tensor | float = 0.0) -> Tensor:
    """Look up the bits of residuals under tables that a shift, not rounded, may put between two.

    Args:
        bits: of every table and magnitude (tables, magnitudes).
        indices: of tables, any shape.
        residuals: in the same shape.
        shift: of the indices, in the same shape.

    Returns:
        Bits in the same shape; 0 where the index says that the residual is surely 0.
    """
    tables = (indices + shift).clamp(1, LAPLACE_TABLES - 1)
    low = tables.detach().floor().clamp(max=LAPLACE_TABLES - 2).long()
    magnitude = residuals.abs().clamp(max=LARGEST_SUPPORT + 1).long()
    below, above = (bits.flatten()[(low + up) * bits.shape[1] + magnitude] for up in (0, 1))
    return torch.lerp(below, above, tables - low) * (indices > 0)
