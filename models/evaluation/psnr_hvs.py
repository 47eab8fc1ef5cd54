"""PSNR-HVS (Egiazarian et al. 2006): PSNR in which a DCT coefficient counts as much as it is seen.

It is the first of the two numbers of the package psnr-hvsm, without masking, which JPEG AI reports.
It is written here because that package links FFTW, so that its binary is under the GPL, and is 28
MB; the two agree to 1e-6 dB (see the test).
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

SIDE = 8  # of a block, in pixels
CSF_SCALE = 25.735088  # over JPEG's step: the published contrast sensitivities, to six digits
IDENTICAL = 100.0  # dB, for infinity, as in psnr-hvsm

# fmt: off
JPEG_LUMA_STEPS = (  # ITU-T T.81, table K.1
    16, 11, 10, 16, 24, 40, 51, 61,
    12, 12, 14, 19, 26, 58, 60, 55,
    14, 13, 16, 24, 40, 57, 69, 56,
    14, 17, 22, 29, 51, 87, 80, 62,
    18, 22, 37, 56, 68, 109, 103, 77,
    24, 35, 55, 64, 81, 104, 113, 92,
    49, 64, 78, 87, 103, 121, 120, 101,
    72, 92, 95, 98, 112, 100, 103, 99,
)
# fmt: on


def psnr_hvs(y_hat: Tensor, y: Tensor) -> Tensor:
    """Score luma (N, 1, H, W) in [0, 1] in dB: (N,).

    The last row and column are repeated up to whole blocks, as in JPEG AI.
    """
    height, width = y.shape[-2:]
    both = torch.stack([y_hat, y]).flatten(0, 1).double()
    both = F.pad(both, (0, -width % SIDE, 0, -height % SIDE), mode="replicate")
    error = (both[: len(y)] - both[len(y) :]).unfold(2, SIDE, SIDE).unfold(3, SIDE, SIDE)
    dct = _dct().to(error.device)
    seen = CSF_SCALE / torch.tensor(JPEG_LUMA_STEPS, dtype=torch.float64, device=y.device).view(SIDE, SIDE)
    mse = (dct @ error @ dct.T * seen).square().mean((1, 2, 3, 4, 5))
    return torch.where(mse > 0, -10 * torch.log10(mse), IDENTICAL)


def _dct() -> Tensor:
    """Make the orthonormal DCT-II (SIDE, SIDE): coefficients of a column are `_dct() @ column`."""
    frequency, place = np.mgrid[:SIDE, :SIDE]
    basis = np.sqrt(2 / SIDE) * np.cos(np.pi * (2 * place + 1) * frequency / (2 * SIDE))
    basis[0] /= np.sqrt(2)
    return torch.from_numpy(basis)
