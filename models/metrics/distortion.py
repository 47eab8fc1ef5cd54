"""PSNR and MS-SSIM, the two distortions by which the codec is trained and judged.

Both are differentiable, take batches in [0, 1] and return one value per image. They compute in
float32 whatever the caller's precision: under bfloat16 autocast the variances of MS-SSIM cancel,
and the value is wrong by several hundredths. MS-SSIM is our own because the codec trains on it and
scores with it on every device: the packages either lack small pictures or a safe gradient at 0, or
bring a framework of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from models.metrics.strips import strips
from models.progress import Progress, with_pauses

SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
WINDOW_SIDE = 11
SIGMA = 1.5
C1, C2 = 0.01**2, 0.03**2  # stabilise the two quotients; K1 = 0.01 and K2 = 0.03 at data range 1

# Below it a contrast term counts as 0. Its power would have a derivative of 1e4 and more, and at 0
# an infinite one.
SMALLEST_TERM = 1e-6


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


def ms_ssim_of_rows(
    rows_of: Callable[[slice], tuple[Tensor, Tensor]], height: int, width: int, progress: Progress
) -> float:
    """Compute `ms_ssim` of two pictures in strips, with a pause after each.

    Of the whole it keeps the halves, 6 bytes a pixel.

    Args:
        rows_of: gives some rows of both, (1, 3, h, W) in [0, 1].
        height: of the pictures.
        width: of the pictures.
        progress: may end the work by raising.
    """
    scales = _scales(height, width)
    terms = []
    for scale in range(scales):
        last = scale == scales - 1
        windows = height - min(WINDOW_SIDE, height) + 1
        sums = []
        for rows in with_pauses(strips(windows, width), progress):
            a, b = _channels_last(*rows_of(slice(rows.start, rows.stop + height - windows)))
            sums.append(_term_map(a, b, last=last).sum((2, 3), dtype=torch.float64))
        columns = width - min(WINDOW_SIDE, width) + 1
        terms.append((torch.stack(sums).sum(0) / (windows * columns)).float())
        if last:
            break
        halves = terms[-1].new_empty((2, 3, -(-height // 2), -(-width // 2)))
        halves = halves.contiguous(memory_format=torch.channels_last)
        odd = height % 2  # then the first row is averaged with zeros above it; see `_halve`
        for rows in with_pauses(strips(halves.shape[2], width), progress):
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
