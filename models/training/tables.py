"""Counting what the entropy coder's tables say: the prior of z in its contexts, and the residuals' tables.

The latter at the very end: scale decoder and context networks choose among Laplacians, then each table takes the frequencies that were seen
under it, as residuals are not quite Laplacian, least of all after the encoder's dead zone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.entropy.context_model import HYPER_CONTEXTS, PHASES, ContextModel, hyper_contexts
from models.entropy.tables import LAPLACE_TABLES, LARGEST_SUPPORT, TOTAL, Z_LIMIT, Counts, Tables, integer_counts
from models.network.hyperprior import FactorizedPrior

PRIOR_COUNTS = 50.0  # weight of the trained prior of z against a channel's counts
CHANNEL_COUNTS = 20.0  # weight of a channel's counts against those of one context
LAPLACE_COUNTS = 100.0  # weight of the Laplacian against a table's counts

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


@torch.no_grad()
def counted(tables: Tables, context_model: ContextModel, sample: Sample) -> Tables:
    """The same tables, those of the residuals with the frequencies of this sample: both signs alike, and larger never likelier."""
    on_device = context_model.mapped(torch.from_numpy)
    width = LARGEST_SUPPORT + 2
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
