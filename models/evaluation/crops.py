"""The same crop of the same image by every codec at the same bytes: what numbers do not show."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from PIL import Image, ImageDraw, ImageFont

from models.codec import Codec
from models.evaluation.anchors import Anchor
from models.evaluation.points import AnchorPoints
from models.picture import Picture
from models.rate_control import Target

SIDE = 256  # pixels
CAPTION = 34  # pixels


def comparison(
    pictures: Sequence[Picture], codecs: Sequence[Codec], anchors: Sequence[Anchor], bpp: float, known: AnchorPoints
) -> Image.Image:
    """A sheet with one row per picture: the centre of the original, then of what each codec makes of it within `bpp`.

    The centre, so that nobody chose. A codec that cannot go as low is shown at its lowest rate, which its caption tells.
    """
    rows = [list(_row(picture, codecs, anchors, bpp, known)) for picture in pictures]
    sheet = Image.new("RGB", (len(rows[0]) * (SIDE + 4) - 4, len(rows) * (SIDE + CAPTION)), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    for row, cells in enumerate(rows):
        for column, (caption, decoded) in enumerate(cells):
            left, top = column * (SIDE + 4), row * (SIDE + CAPTION)
            sheet.paste(centre(decoded), (left, top))
            draw.multiline_text((left + 2, top + SIDE + 1), caption, fill="black", font=font, spacing=1)
    return sheet


def centre(picture: Picture) -> Image.Image:
    """The middle SIDE x SIDE pixels, or less of a smaller picture."""
    left, top = max(0, (picture.width - SIDE) // 2), max(0, (picture.height - SIDE) // 2)
    box = (left, top, min(left + SIDE, picture.width), min(top + SIDE, picture.height))
    return picture.to_image().convert("RGB").crop(box)


def _row(
    picture: Picture, codecs: Sequence[Codec], anchors: Sequence[Anchor], bpp: float, known: AnchorPoints
) -> Iterator[tuple[str, Picture]]:
    yield "original", picture
    for codec in codecs:
        stream = codec.encode([picture], [Target(bpp=bpp)])[0]
        yield f"ziggurat {codec.name}\n{stream.bpp:.3f} bpp", codec.decode([stream.data])[0]
    for anchor in anchors:
        best = known.largest_within(anchor, picture, bpp) or known.sweep(anchor, picture)[0]
        yield f"{anchor.name}\n{best.bpp:.3f} bpp", anchor.decode(anchor.encode(picture, int(best.setting)))
