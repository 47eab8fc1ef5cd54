"""Counting the entropy coder's tables: the prior of z in its contexts, and the residuals' tables.

The latter are counted at the very end. Scale decoder and context networks choose among Laplacians;
then each table takes the frequencies that were seen under it, as residuals are not quite Laplacian,
least of all after the encoder's dead zone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.entropy.context_model import HYPER_CONTEXTS, PHASES, ContextModel, hyper_contexts
from models.entropy.context_model_torch import ExactContextModel
from models.entropy.tables import (
    LAPLACE_TABLES,
    LARGEST_SUPPORT,
    TOTAL,
    Z_LIMIT,
    Counts,
    Tables,
    integer_counts,
)
from models.network.hyperprior import FactorizedPrior

# Weights of what is expected, in symbols, against what is counted.
PRIOR_COUNTS = 50.0  # the trained prior of z, against a channel's counts
CHANNEL_COUNTS = 20.0  # a channel's counts, against those of one context
LAPLACE_COUNTS = 100.0  # the Laplacian, against a table's counts

Sample = Sequence[tuple[Tensor, Tensor]]
"""Table indices by the scale decoder, uint8, and residuals, int16, each (N, M, h, w)."""


@torch.no_grad()
def hyper_tables(prior: FactorizedPrior, z: Tensor) -> Tables:
    """Make tables for z like this sample (N, C, h, w), in the contexts of its neighbours."""
    channels = z.shape[1]
    values = 2 * Z_LIMIT + 1
    centre = z.transpose(0, 1).flatten(1).median(1).values.int()
    every_value = torch.arange(-Z_LIMIT, Z_LIMIT + 1).float().expand(1, channels, 1, -1)
    trained = 2.0 ** -prior(every_value)[0, :, 0].double()
    counts = torch.zeros(channels * HYPER_CONTEXTS * values, dtype=torch.float64)
    channel = torch.arange(channels)[:, None, None]
    for row, column in PHASES:
        context = hyper_contexts(z, centre[:, None, None], (row, column))
        value = z[..., row::2, column::2].long() + Z_LIMIT
        cell = (channel * HYPER_CONTEXTS + context) * values + value
        counts += torch.bincount(cell.flatten(), minlength=len(counts))
    counts = counts.view(channels, HYPER_CONTEXTS, values)
    of_channel = counts.sum(1) + PRIOR_COUNTS * trained
    of_channel = of_channel / of_channel.sum(1, keepdim=True)
    smoothed = counts + CHANNEL_COUNTS * of_channel[:, None]
    return Tables.make((smoothed / smoothed.sum(2, keepdim=True)).numpy(), centre.numpy())


@torch.no_grad()
def counted(tables: Tables, context_model: ContextModel, sample: Sample) -> Tables:
    """Replace the residuals' tables by the frequencies of this sample.

    Both signs are alike, and no larger magnitude is likelier than a smaller one.
    """
    on_device = ExactContextModel(context_model, torch.device("cpu"))
    width = LARGEST_SUPPORT + 2
    seen = torch.zeros(LAPLACE_TABLES * width, dtype=torch.float64)
    for indices, residuals in sample:
        corrected = on_device.all_corrected(indices, residuals)
        cell = corrected.long() * width + residuals.abs().long().clamp(max=width - 1)
        seen += torch.bincount(cell.flatten(), minlength=len(seen))
    laplace = map(_counted, tables.laplace, seen.view(-1, width).numpy())
    return replace(tables, laplace=tuple(laplace))


def _counted(laplace: Counts, seen: NDArray[np.float64]) -> Counts:
    """Count one table.

    Args:
        laplace: the table of the Laplacian: counts of -support to support, and of all beyond.
        seen: number of residuals of every magnitude (LARGEST_SUPPORT + 2,), all beyond in the last.
    """
    if not len(laplace):
        return laplace
    support = (len(laplace) - 2) // 2
    magnitudes = np.append(seen[: support + 1], seen[support + 1 :].sum())
    signs = np.append(1, np.full(support, 2))  # of every magnitude but 0 there are two residuals
    expected = np.append(laplace[support:-1] * signs, laplace[-1]) / TOTAL
    frequency = (magnitudes + LAPLACE_COUNTS * expected) / (magnitudes.sum() + LAPLACE_COUNTS)
    falling = np.minimum.accumulate(np.append(frequency[0], frequency[1:-1] / 2))
    return integer_counts(np.concatenate([falling[:0:-1], falling, frequency[-1:]]))
