"""Weights as integers in training: rounded forward, straight through backward."""

from __future__ import annotations

import torch
from torch import Tensor

from models.entropy.scale_decoder import EXACT_LIMIT, MULTIPLIER_BITS
from models.network.autoencoder import straight_through

WEIGHT_LIMIT = 127


def rounded(weight: Tensor, bias: Tensor, limit: int, unit: Tensor | float) -> tuple[Tensor, Tensor, Tensor]:
    """Integers in floats for weight (out, ...) and bias (out,), and what one step of the weight is (out,).

    As fine as int8 allows, and no finer than sums under 2**24 allow: nine tenths for the weights, less than one for the bias.

    Args:
        weight, bias: of a layer.
        limit: of its integer inputs.
        unit: what an integer input stands for.
    """
    magnitude = weight.detach().abs().flatten(1)
    finest = torch.stack(
        [
            magnitude.amax(1) / WEIGHT_LIMIT,
            magnitude.sum(1) * limit / (0.9 * EXACT_LIMIT),
            bias.detach().abs() / (0.09 * EXACT_LIMIT * unit),
        ]
    )
    step = finest.amax(0).clamp_min(1e-8)
    return straight_through(weight / step.view(-1, *[1] * (weight.dim() - 1))), straight_through(bias / (step * unit)), step


def integers(weight: Tensor, bias: Tensor, ratio: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Weight, bias and multiplier of a layer as they are exported, int32, from integers in floats and the requantisation ratio (out,)."""
    multiplier = (ratio * (1 << MULTIPLIER_BITS)).clamp_min(1)
    return weight.round().int(), bias.round().int(), multiplier.round().int()
