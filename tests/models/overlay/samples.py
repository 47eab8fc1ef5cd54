"""Pictures with and without text, drawn with Pillow's own font."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from tests.make_golden import FIXTURES

Pixels = NDArray[np.uint8]
LINE = "The harbour of the old town, seen from the pier"


def photograph() -> Pixels:
    """512x384."""
    with Image.open(FIXTURES / "photo.jpg") as image:
        return np.asarray(image.convert("RGB").resize((512, 384), Image.Resampling.LANCZOS))


def captioned(rgb: Pixels) -> tuple[Pixels, NDArray[np.bool_]]:
    """The picture with a line of text above, and where that is."""
    image = Image.fromarray(rgb)
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(20)
    draw.text((40, 24), LINE, "white", font, stroke_width=1, stroke_fill="black")
    written = np.asarray(image)
    return written, (written != rgb).any(-1)


def page() -> Pixels:
    """A drawn page of 512x384: text, lines and boxes on paper."""
    image = Image.new("RGB", (512, 384), (250, 250, 245))
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 0, 512, 40), fill=(30, 60, 120))
    draw.text((12, 8), "Ziggurat", "white", ImageFont.load_default(20))
    for row in range(60, 370, 20):
        draw.text((16, row), f"{row}. {LINE}", (20, 20, 20), ImageFont.load_default(12))
    draw.rectangle((360, 80, 490, 200), outline=(200, 60, 60), width=2)
    return np.asarray(image)
