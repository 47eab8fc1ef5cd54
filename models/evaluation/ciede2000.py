"""CIEDE2000 (CIE 142-2001): the colour difference that an observer sees between two patches.

About 1 is just noticeable, 0 identical. Written after Sharma, Wu and Dalal, "The CIEDE2000
color-difference formula: implementation notes, supplementary test data, and mathematical
observations", 2005, whose 34 pairs are the test.
"""

from __future__ import annotations

import torch
from torch import Tensor

from models.evaluation.ssimulacra2 import linear_light

# Of linear sRGB, divided by the white point D65: rows give X / Xn, Y / Yn and Z / Zn.
TO_XYZ = (
    (0.4124564 / 0.95047, 0.3575761 / 0.95047, 0.1804375 / 0.95047),
    (0.2126729, 0.7151522, 0.0721750),
    (0.0193339 / 1.08883, 0.1191920 / 1.08883, 0.9503041 / 1.08883),
)
LINEAR_BELOW = (6 / 29) ** 3  # Lab's cube root has a straight foot


def mean_ciede2000(x_hat: Tensor, x: Tensor) -> Tensor:
    """Average the difference over the pixels of pictures (N, 3, H, W), sRGB in [0, 1]: (N,)."""
    return ciede2000(lab(x_hat), lab(x)).mean((1, 2))


def ciede2000(a: Tensor, b: Tensor) -> Tensor:
    """Compute the difference between colours in Lab (N, 3, ...): (N, ...). It is symmetric."""
    (light_a, a_a, b_a), (light_b, a_b, b_b) = a.unbind(1), b.unbind(1)
    flat = 1.5 - _saturation((torch.hypot(a_a, b_a) + torch.hypot(a_b, b_b)) / 2) / 2
    a_a, a_b = a_a * flat, a_b * flat
    chroma_a, chroma_b = torch.hypot(a_a, b_a), torch.hypot(a_b, b_b)
    hue_a, hue_b = _hue(a_a, b_a), _hue(a_b, b_b)
    grey = chroma_a * chroma_b == 0

    turn = torch.where(grey, 0.0, hue_b - hue_a)
    turn = turn - 2 * torch.pi * torch.round(turn / (2 * torch.pi))
    hue_step = 2 * torch.sqrt(chroma_a * chroma_b) * torch.sin(turn / 2)
    hue = torch.where(grey, hue_a + hue_b, hue_a + turn / 2)  # of a grey, which has 0, and the other

    light = (light_a + light_b) / 2 - 50
    chroma = (chroma_a + chroma_b) / 2
    light_scale = 1 + 0.015 * light**2 / torch.sqrt(20 + light**2)
    chroma_scale = 1 + 0.045 * chroma
    hue_scale = 1 + 0.015 * chroma * _hue_weight(hue)
    blue = torch.exp(-(((torch.rad2deg(hue) % 360 - 275) / 25) ** 2))
    rotation = -2 * _saturation(chroma) * torch.sin(torch.deg2rad(60 * blue))

    by_light = (light_b - light_a) / light_scale
    by_chroma = (chroma_b - chroma_a) / chroma_scale
    by_hue = hue_step / hue_scale
    square = by_light**2 + by_chroma**2 + by_hue**2 + rotation * by_chroma * by_hue
    return torch.sqrt(square.clamp(min=0))


def _hue(a: Tensor, b: Tensor) -> Tensor:
    """Compute the angle in 0..2 pi; it decides which way round opposite hues are averaged."""
    return torch.remainder(torch.atan2(b, a), 2 * torch.pi)


def _saturation(chroma: Tensor) -> Tensor:
    """Rise from 0 for greys to 1 for strong colours, with half of the way at about 25."""
    seventh = chroma**7
    return torch.sqrt(seventh / (seventh + 25.0**7))


def _hue_weight(hue: Tensor) -> Tensor:
    """Compute the formula's T, of a hue in radians."""
    degree = torch.pi / 180
    return (
        1
        - 0.17 * torch.cos(hue - 30 * degree)
        + 0.24 * torch.cos(2 * hue)
        + 0.32 * torch.cos(3 * hue + 6 * degree)
        - 0.20 * torch.cos(4 * hue - 63 * degree)
    )


def lab(srgb: Tensor) -> Tensor:
    """Turn pictures (N, 3, H, W), sRGB in [0, 1], into Lab (N, 3, H, W), L in 0..100."""
    xyz = torch.einsum("ij,njhw->nihw", srgb.new_tensor(TO_XYZ), linear_light(srgb))
    bent = torch.where(
        xyz > LINEAR_BELOW,
        xyz.clamp(min=LINEAR_BELOW).pow(1 / 3),
        xyz / (3 * (6 / 29) ** 2) + 4 / 29,
    )
    x, y, z = bent.unbind(1)
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], 1)
