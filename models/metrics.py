"""PSNR and MS-SSIM, the two distortions by which the codec is trained and judged.

Both are differentiable, take batches in [0, 1] and return one value per image. They compute in
float32 whatever the caller's precision: under bfloat16 autocast the variances of MS-SSIM cancel,
and the value is wrong by several hundredths. MS-SSIM is our own because the codec trains on it and
scores with it on every device: the packages either lack small pictures or a safe gradient at 0, or
bring a framework of their own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from models.progress import UNINTERRUPTED, Progress, with_pauses
from models.rate_control import Metric
from models.tensors import to_batch

SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
WINDOW_SIDE = 11
SIGMA = 1.5
C1, C2 = 0.01**2, 0.03**2  # stabilise the two quotients; K1 = 0.01 and K2 = 0.03 at data range 1

# Below it a contrast term counts as 0. Its power would have a derivative of 1e4 and more, and at 0
# an infinite one.
SMALLEST_TERM = 1e-6

STRIP_PIXELS = 1 << 20  # that are compared at a time; a megapixel takes 0.2 GB


def psnr(x_hat: Tensor, x: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB, one MSE over all RGB samples of each image.

    (N, 3, H, W) in [0, 1] to (N,).

    Infinite for identical images.
    """
    with torch.autocast(x.device.type, enabled=False):
        mse = (x_hat.float() - x.float()).square().mean((1, 2, 3))
        return -10 * torch.log10(mse)


def ms_ssim(x_hat: Tensor, x: Tensor) -> Tensor:
    """Multi-scale structural similarity in [0, 1]; (N, 3, H, W) in [0, 1] to (N,).

    Wang, Simoncelli and Bovik, "Multiscale structural similarity for image quality assessment",
    2003, eq. 7, with the usual choices (TensorFlow, pytorch-msssim, CLIC): 11x11 Gaussian windows
    without padding, 2x2 average pooling between scales, the five published weights, negative terms
    taken as 0, RGB planes scored apart and then averaged. Equal to pytorch-msssim to 1e-5.

    An image with a side of 160 pixels or less has room for fewer than five windows of 11: it uses
    the scales that fit, their weights scaled up to the sum of all five. A side under 11 pixels
    shrinks the window to it.
    """
    with torch.autocast(x.device.type, enabled=False):
        a, b = _channels_last(x_hat.float(), x.float())
        scales = _scales(*x.shape[-2:])
        terms = []
        for scale in range(scales):
            last = scale == scales - 1
            terms.append(_term_map(a, b, last=last).mean((2, 3)))
            if not last:
                a, b = _halve(a), _halve(b)
        return _combined(terms)


@torch.inference_mode()
def score(
    decoded: NDArray[np.uint8],
    original: NDArray[np.uint8],
    metric: Metric,
    device: torch.device,
    progress: Progress = UNINTERRUPTED,
) -> float:
    """One metric of two pictures (H, W, 3), as `psnr` and `ms_ssim` define it.

    Pictures of more than STRIP_PIXELS are compared in strips of rows, with a pause after each.
    """
    if metric == "psnr":
        total = 0.0
        for rows in with_pauses(_strips(*original.shape[:2]), progress):
            x_hat, x = (to_batch([picture[rows]], device) for picture in (decoded, original))
            total += float((x_hat - x).square().double().sum())
        return -10 * math.log10(total / original.size) if total else math.inf
    if original.shape[0] * original.shape[1] <= STRIP_PIXELS:
        x_hat, x = (to_batch([picture], device) for picture in (decoded, original))
        return float(ms_ssim(x_hat, x)[0])
    return _ms_ssim_in_strips(decoded, original, device, progress)


def _ms_ssim_in_strips(
    decoded: NDArray[np.uint8], original: NDArray[np.uint8], device: torch.device, progress: Progress
) -> float:
    """`ms_ssim` of two pictures (H, W, 3). Of the whole it keeps the halves, 6 bytes a pixel."""
    height, width, _ = original.shape

    def from_pixels(rows: slice) -> tuple[Tensor, Tensor]:
        return _channels_last(*(to_batch([picture[rows]], device) for picture in (decoded, original)))

    scales = _scales(height, width)
    terms = []
    rows_of: Callable[[slice], tuple[Tensor, Tensor]] = from_pixels
    for scale in range(scales):
        last = scale == scales - 1
        windows = height - min(WINDOW_SIDE, height) + 1
        total = torch.zeros(1, 3, dtype=torch.float64, device=device)
        for rows in with_pauses(_strips(windows, width), progress):
            a, b = rows_of(slice(rows.start, rows.stop + height - windows))
            total += _term_map(a, b, last=last).double().sum((2, 3))
        columns = width - min(WINDOW_SIDE, width) + 1
        terms.append((total / (windows * columns)).float())
        if last:
            break
        halves = torch.empty(2, 3, -(-height // 2), -(-width // 2), device=device)
        halves = halves.contiguous(memory_format=torch.channels_last)
        odd = height % 2  # then the first row is averaged with zeros above it; see `_halve`
        for rows in with_pauses(_strips(halves.shape[2], width), progress):
            top = 2 * rows.start - odd
            both = torch.cat(rows_of(slice(max(top, 0), 2 * rows.stop - odd)))
            padded = F.pad(both, (0, 0, max(-top, 0), 0))
            halves[:, :, rows] = F.avg_pool2d(padded, 2, padding=(0, width % 2))
        height, width = halves.shape[2:]
        rows_of = partial(_rows_of_both, halves)
    return float(_combined(terms).mean())


def _rows_of_both(both: Tensor, rows: slice) -> tuple[Tensor, Tensor]:
    """Rows of two pictures in one batch (2, C, H, W)."""
    return both[:1, :, rows], both[1:, :, rows]


def _strips(rows: int, columns: int) -> list[slice]:
    """Cut `rows` into strips of at most STRIP_PIXELS, but at least one row each."""
    height = max(1, STRIP_PIXELS // columns)
    return [slice(top, min(top + height, rows)) for top in range(0, rows, height)]


def decibels(similarity: Tensor) -> Tensor:
    """MS-SSIM on a logarithmic scale, -10 log10(1 - x), on which equal steps look about equal."""
    return -10 * torch.log10(1 - similarity)


def _channels_last(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Lay two batches out as convolutions on a CPU like it best.

    The grouped convolutions of `_window_means` take an eighth of the time so (24 ms against 194,
    512x768, one thread). Together, because the strides of a single image are ambiguous and later
    operations would guess wrongly.
    """
    both = torch.cat([a, b]).contiguous(memory_format=torch.channels_last)
    return both[: len(a)], both[len(a) :]


def _combined(terms: Sequence[Tensor]) -> Tensor:
    """Combine the mean terms of the scales (N, C) to one value for each image (N,)."""
    renormalise = sum(SCALE_WEIGHTS) / sum(SCALE_WEIGHTS[: len(terms)])
    score = torch.ones_like(terms[0])
    for term, weight in zip(terms, SCALE_WEIGHTS, strict=False):
        score = score * _power(term, weight * renormalise)
    return score.mean(1)


def _scales(height: int, width: int) -> int:
    """Count the scales, of five, that still hold one whole window."""
    shorter = min(height, width)
    return max(1, sum(shorter > (WINDOW_SIDE - 1) << scale for scale in range(len(SCALE_WEIGHTS))))


def _term_map(a: Tensor, b: Tensor, *, last: bool) -> Tensor:
    """Compute one scale's term, before the mean over all windows; the last has luminance."""
    luminance, contrast = _similarity(a, b)
    return luminance * contrast if last else contrast


def _similarity(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Luminance and contrast-structure maps, (N, C, H - 10, W - 10) each.

    Only the sum of the two variances is needed, so four moments are filtered, as one batch.
    """
    mean_a, mean_b, power, product = _window_means(torch.cat([a, b, a * a + b * b, a * b])).chunk(4)
    means_power = mean_a * mean_a + mean_b * mean_b
    means_product = mean_a * mean_b
    luminance = (2 * means_product + C1) / (means_power + C1)
    contrast = (2 * (product - means_product) + C2) / (power - means_power + C2)
    return luminance, contrast


def _window_means(x: Tensor) -> Tensor:
    """Gaussian-weighted means over all windows inside the image, one axis after the other."""
    channels = x.shape[1]
    column = _gaussian(min(WINDOW_SIDE, x.shape[2]), x.device).view(1, 1, -1, 1).expand(channels, 1, -1, 1)
    row = _gaussian(min(WINDOW_SIDE, x.shape[3]), x.device).view(1, 1, 1, -1).expand(channels, 1, 1, -1)
    return F.conv2d(F.conv2d(x, column, groups=channels), row, groups=channels)


def _gaussian(size: int, device: torch.device) -> Tensor:
    offsets = torch.arange(size, dtype=torch.float32, device=device) - (size - 1) / 2
    weights = torch.exp(-offsets.square() / (2 * SIGMA**2))
    return weights / weights.sum()


def _halve(x: Tensor) -> Tensor:
    """2x2 averages.

    An odd side is padded with zeros on both ends, as in the reference implementations.
    """
    return F.avg_pool2d(x, 2, padding=(x.shape[2] % 2, x.shape[3] % 2))


def _power(term: Tensor, exponent: float) -> Tensor:
    """term ** exponent, and 0 with gradient 0 for what is not positive."""
    positive = term > SMALLEST_TERM
    return torch.where(positive, torch.where(positive, term, 1.0) ** exponent, 0.0)
