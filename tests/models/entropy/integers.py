"""Integers as a model has them, for the tests of what codes with them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from models.entropy.context_model import HYPER_CONTEXTS, NEIGHBOURS, ContextModel, Layer
from models.entropy.layer_torch import int8_is_exact
from models.entropy.requantisation import MULTIPLIER_BITS
from models.entropy.tables import LAPLACE_TABLES, Z_LIMIT, Tables, laplace_scales
from models.grid import PASSES

VALUES = np.arange(-Z_LIMIT, Z_LIMIT + 1)
CENTRE = np.array([-3, 0, 0, 7])
TABLES = Tables.make(
    np.array(
        [
            [0.6 ** np.abs(VALUES - centre - context / 2) for context in range(HYPER_CONTEXTS)]
            for centre in CENTRE
        ]
    ),
    CENTRE,
)
CHANNELS = 6
# The types that layers may hold integers in on this machine's CPU.
KINDS = (torch.float32, torch.int8) if int8_is_exact() else (torch.float32,)


def random_context_model(channels: int, band_starts: Sequence[int], seed: int) -> ContextModel:
    """Context networks that move indices up and down by several."""
    rng = np.random.default_rng(seed)

    def layer(inputs: int, outputs: int, size: float) -> Layer:
        """Outputs of about `size` times its inputs."""
        ratio = rng.uniform(0.5, 1.5, outputs) * size / (70 * inputs**0.5)
        weight = rng.integers(-127, 128, (outputs, inputs))
        bias = rng.integers(-9999, 10_000, outputs)
        return Layer.of(weight, bias, (ratio * (1 << MULTIPLIER_BITS)).astype(np.int32))

    networks = []
    for passes in PASSES:
        of_pass = []
        for start, stop in zip(band_starts, [*band_starts[1:], channels], strict=True):
            inputs = stop + start + (2 * stop + 1 if NEIGHBOURS[passes[0]] else 0)
            of_pass.append((layer(inputs, 16, 3), layer(16, 16, 2), layer(16, stop - start, 0.06)))
        networks.append(tuple(of_pass))
    return ContextModel(tuple(band_starts), tuple(networks))


CONTEXT_MODEL = random_context_model(CHANNELS, (0, 1, 3), seed=5)


def a_picture(shape: tuple[int, ...]) -> tuple[NDArray[np.uint8], NDArray[np.int16]]:
    """Indices and residuals of a picture of this shape (M, h, w)."""
    rng = np.random.default_rng(sum(shape))
    indices = rng.integers(0, LAPLACE_TABLES, shape).astype(np.uint8)
    residuals = (rng.laplace(0, laplace_scales()[indices]) * (indices > 0)).round().astype(np.int16)
    return indices, residuals
