"""One score of two pictures, by the name of its metric."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray

from models.metrics import distortion, strips
from models.metrics.ssimulacra2 import ssimulacra2_of_rows
from models.progress import UNINTERRUPTED, Progress, with_pauses
from models.rate_control import Score
from models.tensors import to_batch


@torch.inference_mode()
def score(
    decoded: NDArray[np.uint8],
    original: NDArray[np.uint8],
    metric: Score,
    device: torch.device,
    progress: Progress = UNINTERRUPTED,
) -> float:
    """One metric of two pictures (H, W, 3), as `psnr`, `ms_ssim` and `ssimulacra2` define it.

    Pictures of more than STRIP_PIXELS are compared in strips of rows, with a pause after each.
    """
    height, width, _ = original.shape

    def rows_of(rows: slice) -> tuple[torch.Tensor, torch.Tensor]:
        return to_batch([decoded[rows]], device), to_batch([original[rows]], device)

    if metric == "ssimulacra2":
        return float(ssimulacra2_of_rows(rows_of, height, width, progress)[0])
    if metric == "psnr":
        total = 0.0
        for rows in with_pauses(strips.strips(height, width), progress):
            x_hat, x = rows_of(rows)
            total += float((x_hat - x).square().double().sum())
        return -10 * math.log10(total / original.size) if total else math.inf
    if height * width <= strips.STRIP_PIXELS:
        return float(distortion.ms_ssim(*rows_of(slice(height)))[0])
    return distortion.ms_ssim_of_rows(rows_of, height, width, progress)
