"""SSIMULACRA2 (Sneyers, Cloudinary, 2022; version 2.1, as in libjxl): predicts what people say.

100 is no difference, 90 hard to tell apart, 70 high quality, 50 medium, 30 low. It is structural
similarity in the XYB colour space on six scales, as means and as 4-norms, beside two maps of edges:
those that the decoded picture has and should not (ringing, blocks), and those that it lost (blur).

It is written here because the one package of it for every Python is up to 6 points off, and slow.
It was held against vapoursynth-vszip's, which mirrors the picture at its borders, where libjxl has
zeros; with mirrors, the two agree to 0.3 on JPEG of quality 2 to 90, WebP and AVIF.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from models.metrics.strips import strips
from models.progress import UNINTERRUPTED, Progress, with_pauses

WEIGHTS = Path(__file__).with_name("ssimulacra2.json")
SCALES = 6
SMALLEST_SIDE = 8  # of a scale, in pixels; smaller ones do not count
C2 = 0.0009  # stabilises the quotient of structural similarity
ABSORBANCE_BIAS = 0.0037930732552754493  # added to the cones' absorbance before its cube root
ABSORBANCE = (  # of the long, middle and short cones, of linear R, G and B
    (0.30, 0.622, 0.078),
    (0.23, 0.692, 0.078),
    (0.24342268924547819, 0.20476744424496821, 0.5518098665095536),
)
# Impulse response of libjxl's recursive Gaussian of sigma 1.5, which sees zeros past the borders.
TAPS = (
    0.00941436781,
    0.03601111466,
    0.1093353728,
    0.212928592,
    0.2646211055,
    0.212928592,
    0.1093353728,
    0.03601111466,
    0.00941436781,
)
REACH = len(TAPS) // 2  # rows beside a row that its blur looks at


def ssimulacra2(x_hat: Tensor, x: Tensor) -> Tensor:
    """Score pictures (N, 3, H, W), sRGB in [0, 1]: (N,), at most 100, below 0 for the worst."""
    height, width = x.shape[-2:]
    return ssimulacra2_of_rows(lambda rows: (x_hat[:, :, rows], x[:, :, rows]), height, width, UNINTERRUPTED)


def ssimulacra2_of_rows(
    rows_of: Callable[[slice], tuple[Tensor, Tensor]], height: int, width: int, progress: Progress
) -> Tensor:
    """Compute `ssimulacra2` of pictures in strips, with a pause after each.

    Of the whole it keeps the halves in linear light, 6 bytes a pixel.

    Args:
        rows_of: gives some rows of decoded pictures and originals, (N, 3, h, W) each.
        height: of the pictures.
        width: of the pictures.
        progress: may end the work by raising.

    Returns:
        Scores (N,).
    """

    def linear_rows(rows: slice) -> Tensor:
        return linear_light(torch.cat(rows_of(rows)).float())

    terms = []
    for _ in range(SCALES):
        sums, halves = [], []
        for rows in with_pauses(strips(height, width, multiple=2, weight=4), progress):
            above = min(rows.start, REACH)
            both = linear_rows(slice(rows.start - above, min(rows.stop + REACH, height)))
            inner = slice(above, above + rows.stop - rows.start)
            a, b = _xyb(both).chunk(2)
            sums.append(_sums(a, b, inner))
            halves.append(_halved(both[:, :, inner]))
        means = torch.stack(sums).sum(0) / (height * width)
        terms.append(torch.stack([means[:, :, 0], means[:, :, 1] ** 0.25], 2))
        if min(height, width) < SMALLEST_SIDE:
            break
        half = torch.cat(halves, 2)
        height, width = half.shape[-2:]
        linear_rows = partial(_rows, half)
    terms += [torch.zeros_like(terms[0])] * (SCALES - len(terms))
    # (N, 3 channels, 6 scales, 2 norms, 3 maps), in the order of the weights
    weights = terms[0].new_tensor(_weights()).view(3, SCALES, 2, 3)
    return _calibrated((torch.stack(terms, 2) * weights).sum((1, 2, 3, 4)))


def _rows(planes: Tensor, rows: slice) -> Tensor:
    return planes[:, :, rows]


def _halved(planes: Tensor) -> Tensor:
    """Average 2x2 samples; an odd side repeats its last."""
    even = F.pad(planes, (0, planes.shape[-1] % 2, 0, planes.shape[-2] % 2), mode="replicate")
    return F.avg_pool2d(even, 2)


def _calibrated(distance: Tensor) -> Tensor:
    """Map weighted sums (N,) to scores (N,), by libjxl's fit to what people said."""
    distance = 0.9562382616834844 * distance
    distance = (
        2.326765642916932 * distance
        - 0.020884521182843837 * distance**2
        + 6.248496625763138e-05 * distance**3
    )
    score = 100 - 10 * distance.clamp(min=0) ** 0.6276336467831387
    return torch.where(distance > 0, score, 100.0)


@cache
def _weights() -> list[float]:
    weights: list[float] = json.loads(WEIGHTS.read_text())
    return weights


def linear_light(srgb: Tensor) -> Tensor:
    """Undo sRGB's transfer function."""
    bent = ((srgb.clamp(min=0.04045) + 0.055) / 1.055) ** 2.4
    return torch.where(srgb <= 0.04045, srgb / 12.92, bent)


def _xyb(linear: Tensor) -> Tensor:
    """Turn linear RGB (N, 3, H, W) into XYB, shifted and scaled to be positive and about 0 to 1."""
    absorbed = torch.einsum("ij,njhw->nihw", linear.new_tensor(ABSORBANCE), linear) + ABSORBANCE_BIAS
    cones = absorbed.clamp(min=0).pow(1 / 3) - ABSORBANCE_BIAS ** (1 / 3)
    long, middle, short = cones.unbind(1)
    x = (long - middle) / 2
    y = (long + middle) / 2
    return torch.stack([14 * x + 0.42, y + 0.01, short - y + 0.55], 1)


def _sums(a: Tensor, b: Tensor, inner: slice) -> Tensor:
    """Compare decoded and original rows of one scale, (N, 3, h, W) each.

    Returns:
        Sums over the inner rows, (N, 3 channels, 2 powers, 3 maps).
    """
    # Only the sum of the two variances is needed, so four moments are filtered.
    moments = _blur(torch.cat([a, b, a * a + b * b, a * b]))[:, :, inner]
    mean_a, mean_b, squares, product = moments.chunk(4)
    a, b = a[:, :, inner], b[:, :, inner]
    luminance = 1 - (mean_a - mean_b) ** 2
    covariance = product - mean_a * mean_b
    variances = squares - mean_a**2 - mean_b**2
    structure = (2 * covariance + C2) / (variances + C2)
    dissimilar = (1 - luminance * structure).clamp(min=0)
    edges = (1 + (a - mean_a).abs()) / (1 + (b - mean_b).abs()) - 1
    maps = torch.stack([dissimilar, edges.clamp(min=0), (-edges).clamp(min=0)], 2)
    powers = [power.sum((3, 4), dtype=torch.float64) for power in (maps, maps.square().square())]
    return torch.stack(powers, 2)


def _blur(planes: Tensor) -> Tensor:
    taps = planes.new_tensor(TAPS)
    channels = planes.shape[1]
    planes = planes.contiguous(memory_format=torch.channels_last)  # see models.metrics.distortion
    column = taps.view(1, 1, -1, 1).expand(channels, 1, -1, 1)
    row = taps.view(1, 1, 1, -1).expand(channels, 1, 1, -1)
    planes = F.conv2d(planes, column, padding=(REACH, 0), groups=channels)
    return F.conv2d(planes, row, padding=(0, REACH), groups=channels)
