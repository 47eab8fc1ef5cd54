"""A map of differences: where two pictures differ and by how much, with a scale below it."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

# From dark to light, so that it reads in grey too, and whoever sees colours otherwise: matplotlib's
# "inferno" at equal steps.
COLOURS = np.array(
    [
        (0, 0, 4),
        (31, 12, 72),
        (85, 15, 109),
        (136, 34, 106),
        (186, 54, 85),
        (227, 89, 51),
        (249, 140, 10),
        (249, 201, 50),
        (252, 255, 164),
    ],
    np.float32,
)
CLIPPED_PERCENT = 3  # of the pixels may lie beyond the scale, or a few edges would leave the rest dark
ENDS = (0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0)  # of the scale
NARROWEST = 320  # pixels that the scale and its text need


def heat_map(differences: NDArray[np.float32], title: str) -> bytes:
    """Draw differences (H, W), 0 or more, as a PNG of H pixels, and those of the scale, in height.

    Args:
        differences: of each pixel.
        title: what the numbers are.
    """
    end = _end_of(differences)
    height, width = differences.shape
    wide = max(width, NARROWEST)
    size = min(max(wide // 45, 12), 64)  # of the text
    scale_height = 5 * size
    image = Image.new("RGB", (wide, height + scale_height), "white")
    image.paste(Image.fromarray(_coloured(differences / end)), ((wide - width) // 2, 0))

    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(size)
    left, right, top = size, wide - size, height + size // 2
    bar = np.tile(np.linspace(0, 1, right - left, dtype=np.float32), (size, 1))
    image.paste(Image.fromarray(_coloured(bar)), (left, top))
    for part, anchor in ((0.0, "la"), (0.5, "ma"), (1.0, "ra")):
        text = f"{part * end:g}" + (" or more" if part == 1 else "")
        draw.text((left + part * (right - left), top + 1.2 * size), text, "black", font, anchor)
    draw.text((wide / 2, top + 2.8 * size), title, "black", font, "ma")
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def _end_of(differences: NDArray[np.float32]) -> float:
    """Choose the end of the scale: one of few, so that maps compare, and almost all within it."""
    almost_all = float(np.percentile(differences, 100 - CLIPPED_PERCENT))
    return next((end for end in ENDS if almost_all <= end), ENDS[-1])


def _coloured(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Colours (H, W, 3) of values (H, W), 0 to 1 and clipped."""
    steps = np.linspace(0, 1, len(COLOURS))
    planes = [np.interp(values.ravel(), steps, plane).reshape(values.shape) for plane in COLOURS.T]
    return np.stack(planes, -1).round().astype(np.uint8)
