"""The same crop of the same images by every codec at equal bytes: what numbers do not show."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from PIL import Image, ImageDraw, ImageFont

from models.evaluation.anchors import Anchor
from models.evaluation.points import AnchorPoints
from models.evaluation.report import HEADLINE
from models.learned.codec import LearnedCodec
from models.picture import Picture
from models.rate_control import Target

SIDE = 256  # pixels
CAPTION = 34  # pixels
ROWS = 3

# One of each family beside us, the variant that is tuned for the metric: the one named like the profile, or else the plain one.
FAMILIES = ("avif-444", "heic-444", "jxl", "webp", "jpeg")


def sheets(
    pictures: Sequence[Picture], codecs: Sequence[LearnedCodec], effort: int, anchors: Sequence[Anchor], known: AnchorPoints
) -> Iterator[tuple[LearnedCodec, Image.Image]]:
    """A sheet for each profile of ours.

    Nobody chose what is shown: the images are the first, the middle and the last by name, the region is the centre, and the budget is the
    headline's, 0.15 bits per pixel of the whole image. Where there is an AVIF we get its bytes and no more.
    """
    chosen = [pictures[index] for index in sorted({round(row * (len(pictures) - 1) / (ROWS - 1)) for row in range(ROWS)})]
    for codec in codecs:
        names = [anchor.name for anchor in anchors]
        wanted = [f"{family}-{codec.name}" if f"{family}-{codec.name}" in names else family for family in FAMILIES]
        shown = [anchor for name in wanted for anchor in anchors if anchor.name == name]
        yield codec, comparison(chosen, codec, effort, shown, known)


def comparison(
    pictures: Sequence[Picture], codec: LearnedCodec, effort: int, anchors: Sequence[Anchor], known: AnchorPoints
) -> Image.Image:
    """A sheet with one row per picture: the centre of the original, of ours, and of the others. See `sheets`.

    An anchor's file is the largest within the budget; one that cannot go as low is shown at its lowest rate, which its caption tells.
    """
    rows = [list(_row(picture, codec, effort, anchors, known)) for picture in pictures]
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
    picture: Picture, codec: LearnedCodec, effort: int, anchors: Sequence[Anchor], known: AnchorPoints
) -> Iterator[tuple[str, Picture]]:
    budget = int(HEADLINE * picture.pixels / 8)
    files = [(anchor, _file(anchor, picture, budget, known)) for anchor in anchors]
    avif = [len(data) for anchor, data in files if anchor.family == "avif" and len(data) <= budget]
    stream = codec.encode([picture], [Target(max_bytes=min([budget, *avif]))], effort=effort)[0]
    told = f", effort {effort}" if effort else ""
    yield "original", picture
    yield f"ziggurat {codec.name}{told}\n{len(stream.data)} bytes", codec.decode([stream.data])[0]
    for anchor, data in files:
        yield f"{anchor.name}\n{len(data)} bytes", anchor.decode(data)


def _file(anchor: Anchor, picture: Picture, budget: int, known: AnchorPoints) -> bytes:
    best = known.largest_within(anchor, picture, budget)
    return anchor.encode(picture, int(best.setting) if best else min(anchor.qualities))
