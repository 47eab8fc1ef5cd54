"""Training what decoded symbols say about the next: the networks of `models.entropy.context_model`, on symbols as the encoder makes them.

Forward, everything is rounded as in the integers; backward, rounding is the identity (straight-through). The loss is the rate: bits of the
residuals under the tables that the networks choose, linear between two neighbouring tables.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.entropy.context_model import (
    INPUT_LIMIT,
    MAX_INDEX_SHIFT,
    ContextModel,
    Integers,
    Known,
    Layer,
    Network,
    known_before,
    network_inputs,
)
from models.entropy.scale_decoder import ACTIVATION_LIMIT
from models.entropy.tables import LAPLACE_TABLES, LARGEST_SUPPORT, Tables
from models.grid import PASSES
from models.network.autoencoder import straight_through
from models.training.rounding import integers, rounded
from models.training.tables import Sample

BAND_STARTS = (0, 4, 12, 36, 108)  # each costs a call of the coder for every table in it
HIDDEN = 64
BATCH = 1024  # places of each pass
WARMUP = 50
UNITS = (1 / 16, 1 / 32, 1 / 32, 1 / 8)  # what an integer stands for: of the inputs, of either hidden layer, of the shift


class RoundedNetwork(nn.Module):
    """A context network that computes in its integers, held in floats, with straight-through gradients.

    Args:
        centre: integers near the inputs' means (in,); weights are trained on what differs from them.
        outputs: channels of the band.
    """

    def __init__(self, centre: Tensor, outputs: int) -> None:
        super().__init__()
        self._centre = centre
        self._dense = [nn.Linear(len(centre), HIDDEN), nn.Linear(HIDDEN, HIDDEN), nn.Linear(HIDDEN, outputs)]
        self.layers = nn.ModuleList(self._dense)
        self._dense[-1].weight.data.mul_(0.1)
        self._dense[-1].bias.data.zero_()

    def _layer(self, number: int) -> tuple[Tensor, Tensor, Tensor]:
        """Integer weight and bias, and the requantisation ratio (out,)."""
        dense, limit = self._dense[number], ACTIVATION_LIMIT if number else INPUT_LIMIT
        weight, bias, step = rounded(dense.weight, dense.bias, limit, UNITS[number])
        return weight, bias if number else bias - weight @ self._centre, step * UNITS[number] / UNITS[number + 1]

    def forward(self, x: Tensor) -> Tensor:
        """Shifts (n, out), not rounded, from integer inputs (n, in)."""
        for number in range(len(self._dense)):
            weight, bias, ratio = self._layer(number)
            x = F.linear(x, weight, bias) * ratio
            if number < len(self._dense) - 1:
                x = straight_through(x).clamp(0, ACTIVATION_LIMIT)
        return x.clamp(-MAX_INDEX_SHIFT, MAX_INDEX_SHIFT)

    @torch.no_grad()
    def exact(self) -> Network[Integers]:
        """The integers."""
        layers = (integers(*self._layer(number)) for number in range(len(self._dense)))
        return tuple(Layer.of(*(part.numpy() for part in layer)) for layer in layers)


@dataclass(frozen=True, slots=True, eq=False)
class _Places:
    """The places of one pass, of all pictures, each a picture of its own.

    Attributes:
        known: (n, M, 1, 1), see `Known`.
        residuals: int16 (n, M, 1, 1).
        weight: of their bits (n,): loud pictures have many, and must not drown the quiet ones.
    """

    known: Known[Tensor]
    residuals: Tensor
    weight: Tensor

    @classmethod
    def of(cls, number: int, sample: Sample, bits: Tensor) -> _Places:
        """All of a pass; `bits` by table and magnitude."""
        parts = []
        for indices, residuals in sample:
            cost = _bits(bits, indices, residuals).sum((1, 2, 3)) / (indices.shape[-2] * indices.shape[-1])
            weight = (1 + cost).rsqrt()[:, None, None, None]
            for row, column in PASSES[number]:
                known = known_before(indices, residuals, (row, column))
                own = residuals[..., row::2, column::2]
                parts.append([known.indices, *known.around, own, weight.expand(-1, 1, *own.shape[-2:])])
        indices, *around, residuals, weight = (
            torch.cat([part.permute(0, 2, 3, 1).flatten(0, 2) for part in same])[..., None, None] for same in zip(*parts, strict=True)
        )
        return cls(Known(number, indices, tuple(around)), residuals, weight.flatten())

    def drawn(self, count: int) -> _Places:
        """So many of them at random."""
        rows = torch.randint(len(self.residuals), (count,))
        known = Known(self.known.number, self.known.indices[rows], tuple(part[rows] for part in self.known.around))
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
    """Networks trained to make such a sample cheapest under these tables."""
    bits = torch.from_numpy(tables.laplace_bits())
    sample = [(indices, (residuals * (indices > 0)).short()) for indices, residuals in sample]
    channels = sample[0][0].shape[1]
    draft = ContextModel(tuple(start for start in band_starts if start < channels), ())
    places = [_Places.of(number, sample, bits) for number in range(len(PASSES))]
    networks = [
        [RoundedNetwork(_seen(draft, part.drawn(BATCH), band).mean(0).round(), len(range(channels)[own])) for band, own in draft.bands()]
        for part in places
    ]
    optimizer = torch.optim.Adam([parameter for of_pass in networks for network in of_pass for parameter in network.parameters()])
    saved: list[float] = []
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate * min((step + 1) / WARMUP, 1 - step / steps)
        optimizer.zero_grad(set_to_none=True)
        spent = unmoved = 0.0
        for of_pass, part in zip(networks, places, strict=True):
            drawn = part.drawn(BATCH)
            for band, own in draft.bands():
                indices, residuals = (values[:, own, 0, 0] for values in (drawn.known.indices, drawn.residuals))
                cost = _bits(bits, indices, residuals, of_pass[band](_seen(draft, drawn, band)))
                loss = (cost.sum(1) * drawn.weight).mean()
                loss.backward()  # type: ignore[no-untyped-call]
                spent += float(cost.detach().sum())
                unmoved += float(_bits(bits, indices, residuals).sum())
        optimizer.step()
        saved.append(spent / unmoved - 1)
        if (step + 1) % 100 == 0:
            report(f"context networks step {step + 1} of {steps}: {np.mean(saved[-100:]):+.2%} bits against the scale decoder alone")
    return ContextModel(draft.band_starts, tuple(tuple(network.exact() for network in of_pass) for of_pass in networks))


def _seen(context_model: ContextModel, places: _Places, band: int) -> Tensor:
    """Inputs (n, channels) of a band's network."""
    return torch.cat([part[..., 0] for part in network_inputs(places.known, places.residuals, context_model.band(band))], 1).float()


def _bits(bits: Tensor, indices: Tensor, residuals: Tensor, shift: Tensor | float = 0.0) -> Tensor:
    """Bits of residuals under tables that a shift, not rounded, may put between two; equal shapes."""
    tables = (indices + shift).clamp(1, LAPLACE_TABLES - 1)
    low = tables.detach().floor().clamp(max=LAPLACE_TABLES - 2).long()
    magnitude = residuals.abs().clamp(max=LARGEST_SUPPORT + 1).long()
    below, above = (bits.flatten()[(low + up) * bits.shape[1] + magnitude] for up in (0, 1))
    return torch.lerp(below, above, tables - low) * (indices > 0)
