"""Counting what the entropy coder's integers say: the prior of z in its contexts, and the corrections by decoded neighbours."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from models.entropy.neighbours import BINS, HYPER_CONTEXTS, PHASES, TAPS, Neighbours, hyper_contexts
from models.entropy.tables import LAPLACE_TABLES, WIDEST, Z_LIMIT, Tables, laplace_tables
from models.grid import PASSES
from models.network.hyperprior import FactorizedPrior

PRIOR_COUNTS = 50.0  # weight of the trained prior of z against a channel's counts
CHANNEL_COUNTS = 20.0  # weight of a channel's counts against those of one context
MOST_SHIFT = 16  # table indices up or down
HESITATION = 40.0  # bits that a shift must save, per table index, over the whole sample: rare surprises keep near 0


@torch.no_grad()
def hyper_tables(prior: FactorizedPrior, z: Tensor) -> Tables:
    """Tables for z like this sample (N, C, h, w), in the contexts of its neighbours."""
    channels, values = z.shape[1], 2 * Z_LIMIT + 1
    centre = z.transpose(0, 1).flatten(1).median(1).values.int()
    trained = 2.0 ** -prior(torch.arange(-Z_LIMIT, Z_LIMIT + 1).float().expand(1, channels, 1, -1))[0, :, 0].double()
    counts = torch.zeros(channels * HYPER_CONTEXTS * values, dtype=torch.float64)
    channel = torch.arange(channels)[:, None, None]
    for row, column in PHASES:
        context = hyper_contexts(z, centre[:, None, None], (row, column))
        cell = (channel * HYPER_CONTEXTS + context) * values + z[..., row::2, column::2].long() + Z_LIMIT
        counts += torch.bincount(cell.flatten(), minlength=len(counts))
    counts = counts.view(channels, HYPER_CONTEXTS, values)
    of_channel = counts.sum(1) + PRIOR_COUNTS * trained
    smoothed = counts + CHANNEL_COUNTS * (of_channel / of_channel.sum(1, keepdim=True))[:, None]
    return Tables.make((smoothed / smoothed.sum(2, keepdim=True)).numpy(), centre.numpy())


@torch.no_grad()
def neighbours_of(tables: Tables, sample: Sequence[tuple[Tensor, Tensor]]) -> Neighbours:
    """For every surprise the shift of the table index that makes the sample's residuals cheapest.

    Args:
        tables: of the residuals.
        sample: table indices by the scale decoder, and residuals, each (N, M, h, w).
    """
    plain = Neighbours.make(laplace_tables(), np.zeros((len(PASSES) - 1, BINS**3), np.int32))
    on_device = Neighbours(*(torch.from_numpy(values) for values in (plain.expected, plain.logarithms, plain.shifts)))
    bits = torch.from_numpy(tables.laplace_bits()).double()
    shifts = torch.arange(-MOST_SHIFT, MOST_SHIFT + 1)
    cost = torch.zeros(len(PASSES) - 1, len(shifts), BINS**3, dtype=torch.float64)
    for indices, r_hat in sample:
        residuals = (r_hat * (indices > 0)).short()
        for number, phases in enumerate(PASSES[1:]):
            for phase in phases:
                assert TAPS[phase]
                own = indices[..., phase[0] :: 2, phase[1] :: 2]
                coded = own > 0
                kind = on_device.surprise(indices, residuals, phase)[coded]
                magnitude = residuals[..., phase[0] :: 2, phase[1] :: 2][coded].abs().long().clamp(max=WIDEST + 1)
                for row, shift in enumerate(shifts):
                    table = (own[coded].long() + shift).clamp(1, LAPLACE_TABLES - 1)
                    cost[number, row] += torch.bincount(kind, bits[table, magnitude], minlength=BINS**3)
    cost += HESITATION * shifts.abs()[None, :, None]
    best = shifts[cost.argmin(1)]
    return Neighbours.make(laplace_tables(), best.int().numpy())
