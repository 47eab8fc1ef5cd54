"""PSNR-HVS (Egiazarian et al. 2006): PSNR in which a DCT coefficient counts as much as it is seen.

It is the first of the two numbers of the package psnr-hvsm, without masking, which JPEG AI reports.
It is written here because that package links FFTW, so that its binary is under the GPL, and is 28
MB; the two agree to 1e-6 dB (see the test).
"""

from __future__ import annotations

import torch
from torch import Tensor

from models.metrics.contrast_sensitivity import SIDE, sensitivity
from models.network.autoencoder import pad_to_multiple
from models.network.dct import dct_basis

IDENTICAL = 100.0  # dB, for infinity, as in psnr-hvsm


def psnr_hvs(y_hat: Tensor, y: Tensor) -> Tensor:
    """Score luma (N, 1, H, W) in [0, 1] in dB: (N,).

    The last row and column are repeated up to whole blocks, as in JPEG AI.
    """
    both = pad_to_multiple(torch.stack([y_hat, y]).flatten(0, 1).double(), SIDE)
    error = (both[: len(y)] - both[len(y) :]).unfold(2, SIDE, SIDE).unfold(3, SIDE, SIDE)
    dct = dct_basis(SIDE).to(error)
    mse = (dct @ error @ dct.T * sensitivity().to(error)).square().mean((1, 2, 3, 4, 5))
    return torch.where(mse > 0, -10 * torch.log10(mse), IDENTICAL)
