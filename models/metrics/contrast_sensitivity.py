"""Contrast sensitivity: how much of an error is seen, by its frequency.

The weights of the 64 coefficients of an 8x8 DCT are those of PSNR-HVS (Egiazarian et al. 2006).
They are the inverse of JPEG's example table for luma, which was made from what people see.
"""

from __future__ import annotations

from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from models.metrics.jpeg_table import JPEG_LUMA_STEPS
from models.network.dct import dct_basis

SIDE = 8  # of a block, in pixels
_SCALE = 25.735088  # over a step: the published sensitivities, to six digits


def sensitivity() -> Tensor:
    """Weights of the coefficients of a block (8, 8), lowest frequency first, float64."""
    return _SCALE / torch.tensor(JPEG_LUMA_STEPS, dtype=torch.float64).view(SIDE, SIDE)


def seen_squared_error(error: Tensor) -> Tensor:
    """Average the squared error of luma as it is seen: (N, H, W) to (N,), differentiable.

    It is the error in PSNR-HVS, but averaged over the 64 places that the grid of blocks may have,
    so that no place in a picture counts more than another. Outside the picture the error is 0.
    """
    kernel = _correlation().to(error)
    near = F.conv2d(error[:, None], kernel[None, None], padding=SIDE - 1)[:, 0]
    return (error * near).mean((1, 2))


@cache
def _correlation() -> Tensor:
    """Weights of the products of errors, by the distance of the two pixels (15, 15), float64.

    The energy of a block is a sum over pairs of its pixels. Averaged over all places of the block,
    a pair counts by its distance alone.
    """
    basis = dct_basis(SIDE).double()
    patterns = torch.einsum("ui,vj->uvij", basis, basis) * sensitivity()[..., None, None]
    padded = F.pad(patterns.flatten(0, 1), (SIDE - 1,) * 4)
    by_distance = F.conv2d(padded[None], patterns.flatten(0, 1)[:, None], groups=SIDE**2)
    return by_distance[0].sum(0) / SIDE**2
