"""Weights as integers in training: rounded forward, straight through backward."""

from __future__ import annotations

import torch
from torch import Tensor

from models.entropy.requantisation import EXACT_LIMIT, MULTIPLIER_BITS
from models.network.autoencoder import straight_through

WEIGHT_LIMIT = 127  # int8
WEIGHT_SUM_SHARE = 0.9  # of what a sum may reach, for the weights' part of it
BIAS_SHARE = 0.09  # for the bias; the hundredth that is left covers rounding
SMALLEST_STEP = 1e-8  # for channels whose weights are all 0


def rounded(weight: Tensor, bias: Tensor, limit: int, unit: Tensor | float) -> tuple[Tensor, Tensor, Tensor]:
    """Round a layer's weight (out, ...) and bias (out,) to integers in floats, with gradients.

    Every output channel has a step of its own: as fine as int8 allows, but no finer than sums
    under 2**24 allow.

    Args:
        weight: (out, ...).
        bias: (out,).
        limit: largest integer input of the layer.
        unit: real value that an integer input of 1 stands for.

    Returns:
        weight: integers in floats (out, ...).
        bias: integers in floats (out,), in units of the accumulator.
        step: real value that a weight of 1 stands for (out,).
    """
    magnitude = weight.detach().abs().flatten(1)
    finest = torch.stack(
        [
            magnitude.amax(1) / WEIGHT_LIMIT,
            magnitude.sum(1) * limit / (WEIGHT_SUM_SHARE * EXACT_LIMIT),
            bias.detach().abs() / (BIAS_SHARE * EXACT_LIMIT * unit),
        ]
    )
    step = finest.amax(0).clamp_min(SMALLEST_STEP)
    by_channel = step.view(-1, *[1] * (weight.dim() - 1))
    return straight_through(weight / by_channel), straight_through(bias / (step * unit)), step


def integers(weight: Tensor, bias: Tensor, ratio: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Make the int32 weight (out, ...), bias (out,) and multiplier (out,) of a layer's file.

    Args:
        weight: integers in floats (out, ...).
        bias: integers in floats (out,).
        ratio: of requantisation (out,).
    """
    multiplier = (ratio * (1 << MULTIPLIER_BITS)).clamp_min(1)
    return weight.round().int(), bias.round().int(), multiplier.round().int()
