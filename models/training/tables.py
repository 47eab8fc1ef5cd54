"""Counting what the entropy coder's integers say: the prior of z in its contexts, corrections by decoded symbols, the residuals' tables.

In that order, each with what was counted before it: corrections choose among the Laplacians of the scale decoder, and at the end each table
takes the frequencies that were seen under it, as residuals are not quite Laplacian, least of all after the encoder's dead zone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.entropy.neighbours import BINS, HYPER_CONTEXTS, PHASES, Neighbours, hyper_contexts
from models.entropy.tables import LAPLACE_TABLES, TOTAL, WIDEST, Z_LIMIT, Counts, Tables, integer_counts, laplace_tables
from models.grid import PASSES
from models.network.hyperprior import FactorizedPrior

PRIOR_COUNTS = 50.0  # weight of the trained prior of z against a channel's counts
CHANNEL_COUNTS = 20.0  # weight of a channel's counts against those of one context
LAPLACE_COUNTS = 100.0  # weight of the Laplacian against a table's counts
MOST_SHIFT = 16  # table indices up or down
HESITATION = 40.0  # bits that a shift must save, per table index, over the whole sample: rare surprises keep near 0
BAND_STARTS = (0, 4, 12, 36, 108)  # twice as many save 0.2 % more and need as many calls of the coder more

Sample = Sequence[tuple[Tensor, Tensor]]
"""Table indices by the scale decoder, uint8, and residuals, int16, each (N, M, h, w)."""


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


class _Shifts:
    """For each kind of surprise the shift of the table index that makes a sample's residuals cheapest."""

    def __init__(self, bits: Tensor, kinds: int) -> None:
        self._bits = bits
        self._shifts = torch.arange(-MOST_SHIFT, MOST_SHIFT + 1)
        self._cost = torch.zeros(len(self._shifts), kinds, dtype=torch.float64)

    def count(self, tables: Tensor, residuals: Tensor, kind: Tensor) -> None:
        """Residuals, the tables that they have so far, and their kinds of surprise; equal shapes."""
        coded = tables > 0
        magnitude = residuals[coded].abs().long().clamp(max=WIDEST + 1)
        own, kind = tables[coded].long(), kind[coded]
        for row, shift in enumerate(self._shifts):
            bits = self._bits[(own + shift).clamp(1, LAPLACE_TABLES - 1), magnitude]
            self._cost[row] += torch.bincount(kind, bits, minlength=self._cost.shape[1])

    def best(self) -> NDArray[np.int32]:
        """By kind."""
        best: Tensor = self._shifts[(self._cost + HESITATION * self._shifts.abs()[:, None]).argmin(0)]
        return best.int().numpy()


@torch.no_grad()
def neighbours_of(tables: Tables, sample: Sample, band_starts: Sequence[int] = BAND_STARTS) -> Neighbours:
    """The corrections that make this sample cheapest under these tables: by neighbours, then band by band by the lower ones."""
    bits = torch.from_numpy(tables.laplace_bits()).double()
    sample = [(indices, (residuals * (indices > 0)).short()) for indices, residuals in sample]
    found = Neighbours.make(laplace_tables(), np.zeros((len(PASSES) - 1, BINS**3), np.int32), band_starts)
    on_device = found.mapped(torch.from_numpy)
    for number, phases in enumerate(PASSES[1:]):
        shifts = _Shifts(bits, BINS**3)
        for indices, residuals in sample:
            for phase in phases:
                place = (..., slice(phase[0], None, 2), slice(phase[1], None, 2))
                shifts.count(indices[place], residuals[place], on_device.surprise(indices, residuals, phase))
        found.shifts[number] = shifts.best()  # on_device shares its memory
    for number, phases in enumerate(PASSES):
        parts = [
            (on_device.corrected(indices, residuals, phase), residuals[..., phase[0] :: 2, phase[1] :: 2], phase)
            for indices, residuals in sample
            for phase in phases
        ]
        for band in range(1, len(band_starts)):
            shifts = _Shifts(bits, BINS**2)
            for corrected, residuals, _ in parts:
                channels = found.band(band)
                kind = on_device.band_surprise(corrected, residuals, band)[:, None].expand_as(corrected[:, channels])
                shifts.count(corrected[:, channels], residuals[:, channels], kind)
            found.band_shifts[number, band - 1] = shifts.best()
            for corrected, residuals, phase in parts:
                on_device.correct_band(corrected, residuals, phase, band)
    return found


@torch.no_grad()
def counted(tables: Tables, neighbours: Neighbours, sample: Sample) -> Tables:
    """The same tables, those of the residuals with the frequencies of this sample: both signs alike, and larger never likelier."""
    on_device = neighbours.mapped(torch.from_numpy)
    width = WIDEST + 2
    seen = torch.zeros(LAPLACE_TABLES * width, dtype=torch.float64)
    for indices, residuals in sample:
        corrected = on_device.all_corrected(indices, residuals)
        cell = corrected.long() * width + residuals.abs().long().clamp(max=width - 1)
        seen += torch.bincount(cell.flatten(), minlength=len(seen))
    return replace(tables, laplace=tuple(map(_counted, tables.laplace, seen.view(-1, width).numpy())))


def _counted(laplace: Counts, seen: NDArray[np.float64]) -> Counts:
    """One table, from how often each magnitude was seen under it."""
    if not len(laplace):
        return laplace
    support = (len(laplace) - 2) // 2
    magnitudes = np.append(seen[: support + 1], seen[support + 1 :].sum())
    expected = np.append(laplace[support:-1] * np.append(1, np.full(support, 2)), laplace[-1]) / TOTAL
    frequency = (magnitudes + LAPLACE_COUNTS * expected) / (magnitudes.sum() + LAPLACE_COUNTS)
    tail = np.minimum.accumulate(np.append(frequency[0], frequency[1:-1] / 2))
    return integer_counts(np.concatenate([tail[:0:-1], tail, frequency[-1:]]))
