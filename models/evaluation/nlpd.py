"""NLPD, the normalised Laplacian pyramid distance (Laparra, Ballé, Berardino, Simoncelli 2016).

A picture becomes a Laplacian pyramid of six scales, in which every value is divided by a weighted
sum of its neighbours' sizes. The distance is the root of the mean squared difference at a scale,
averaged over the scales: 0 for identical pictures, about 1 for unrelated ones.

It is written here because the package plenoptic has it in 50 lines and needs 60 MB of others. The
two agree in all digits, given the same filters. These are Burt and Adelson's, as in the paper and
in JPEG AI's reference software.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

BLUR = (0.05, 0.25, 0.4, 0.25, 0.05)  # Burt and Adelson's filter, with a = 0.4

# Of each scale from fine to coarse, as published: the weights of the neighbours above, left, right
# and below, and the constant that is added to their sum.
NEIGHBOURS = (
    (0.1011, 0.1493, 0.1460, 0.1015),
    (0.0757, 0.1986, 0.1846, 0.0837),
    (0.0477, 0.2138, 0.2243, 0.0467),
    (0.0, 0.2503, 0.2616, 0.0),
    (0.0, 0.2598, 0.2552, 0.0),
    (0.0, 0.2215, 0.0717, 0.0),
)
CONSTANTS = (0.0248, 0.0185, 0.0179, 0.0191, 0.0220, 0.2782)
SCALES = len(CONSTANTS)


def nlpd(y_hat: Tensor, y: Tensor) -> Tensor:
    """Compare luma (N, 1, H, W) in [0, 1], sides of at least 65 pixels: distances (N,)."""
    pyramid = _pyramid(torch.cat([y_hat, y]))
    distances = []
    for band, weights, constant in zip(pyramid, NEIGHBOURS, CONSTANTS, strict=True):
        a, b = (band / (constant + _neighbours(band.abs(), weights))).chunk(2)
        distances.append((a - b).square().mean((1, 2, 3)).sqrt())
    return torch.stack(distances).mean(0)


def _pyramid(x: Tensor) -> list[Tensor]:
    """Split (N, 1, H, W) into SCALES bands, from fine to coarse; the last is what remains."""
    bands = []
    for _ in range(SCALES - 1):
        coarse = _blur(F.pad(x, (2, 2, 2, 2), mode="reflect"))[..., ::2, ::2]
        bands.append(x - _doubled(coarse, x.shape[-2], x.shape[-1]))
        x = coarse
    return [*bands, x]


def _doubled(coarse: Tensor, height: int, width: int) -> Tensor:
    """Put zeros between the values of a band, to (N, 1, height, width), and fill them in."""
    n, channels = coarse.shape[:2]
    # One value more on either side, mirrored; what blurs past the finer band's ends is cut off.
    coarse = F.pad(coarse, (1, 1, 1, 1), mode="reflect")
    spread = coarse.new_zeros(n, channels, 2 * coarse.shape[2], 2 * coarse.shape[3])
    spread[..., ::2, ::2] = 4 * coarse
    return _blur(spread)[..., :height, :width]


def _blur(x: Tensor) -> Tensor:
    """Blur (N, 1, H, W) to (N, 1, H - 4, W - 4)."""
    taps = x.new_tensor(BLUR)
    return F.conv2d(F.conv2d(x, taps.view(1, 1, -1, 1)), taps.view(1, 1, 1, -1))


def _neighbours(size: Tensor, weights: tuple[float, ...]) -> Tensor:
    """Sum the neighbours of each value by their weights, with zeros beyond the borders."""
    above, left, right, below = weights
    kernel = size.new_tensor([[0, above, 0], [left, 0, right], [0, below, 0]])
    return F.conv2d(size, kernel.view(1, 1, 3, 3), padding=1)
