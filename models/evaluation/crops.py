"""Sheets of crops: the same place of the same pictures by every codec at equal bytes.

They show what numbers do not.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from PIL import Image, ImageDraw, ImageFont

from models.evaluation.anchors import Anchor
from models.evaluation.points import AnchorPoints, budget_of
from models.evaluation.report import HEADLINE
from models.learned.codec import LearnedCodec
from models.picture import Picture
from models.rate_control import Target

SIDE = 256  # of a crop, in pixels
GAP = 4  # between crops, in pixels
CAPTION = 34  # height of a caption, in pixels
FONT_SIZE = 13  # pixels
ROWS = 3  # pictures on a sheet

# One of each family stands beside us, the variant that is tuned for the metric: the one named like
# the profile, or else the plain one.
FAMILIES = ("avif-444", "heic-444", "jxl", "webp", "jpeg")


def sheets(
    pictures: Sequence[Picture],
    codecs: Sequence[LearnedCodec],
    effort: int,
    anchors: Sequence[Anchor],
    known: AnchorPoints,
) -> Iterator[tuple[LearnedCodec, Image.Image]]:
    """Draw a sheet for each profile of ours.

    Nobody chose what is shown: the pictures are the first, the middle and the last by name, the
    place is the centre, and the budget is the headline's, 0.15 bits per pixel of the whole picture.
    Where there is an AVIF file we get its bytes and no more.
    """
    last = len(pictures) - 1
    chosen = [pictures[index] for index in sorted({round(row * last / (ROWS - 1)) for row in range(ROWS)})]
    by_name = {anchor.name: anchor for anchor in anchors}
    for codec in codecs:
        found = (by_name.get(f"{family}-{codec.name}", by_name.get(family)) for family in FAMILIES)
        shown = [anchor for anchor in found if anchor is not None]
        yield codec, comparison(chosen, codec, effort, shown, known)


def comparison(
    pictures: Sequence[Picture],
    codec: LearnedCodec,
    effort: int,
    anchors: Sequence[Anchor],
    known: AnchorPoints,
) -> Image.Image:
    """Draw a sheet with one row per picture: the centre of the original, of ours, of the others.

    An anchor's file is the largest within the budget; one that cannot go as low is shown at its
    lowest rate, which its caption tells. See `sheets`.
    """
    rows = [list(_row(picture, codec, effort, anchors, known)) for picture in pictures]
    size = (len(rows[0]) * (SIDE + GAP) - GAP, len(rows) * (SIDE + CAPTION))
    sheet = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(FONT_SIZE)
    for row, cells in enumerate(rows):
        for column, (caption, decoded) in enumerate(cells):
            left = column * (SIDE + GAP)
            top = row * (SIDE + CAPTION)
            sheet.paste(centre(decoded), (left, top))
            below = (left + 2, top + SIDE + 1)
            draw.multiline_text(below, caption, fill="black", font=font, spacing=1)
    return sheet


def centre(picture: Picture) -> Image.Image:
    """Cut out the middle SIDE x SIDE pixels, or less of a smaller picture."""
    left = max(0, (picture.width - SIDE) // 2)
    top = max(0, (picture.height - SIDE) // 2)
    right = min(left + SIDE, picture.width)
    bottom = min(top + SIDE, picture.height)
    return picture.to_image().convert("RGB").crop((left, top, right, bottom))


def _row(
    picture: Picture,
    codec: LearnedCodec,
    effort: int,
    anchors: Sequence[Anchor],
    known: AnchorPoints,
) -> Iterator[tuple[str, Picture]]:
    """Make captions and decoded pictures, from left to right."""
    budget = budget_of(HEADLINE, picture.pixels)
    files = [(anchor, _file(anchor, picture, budget, known)) for anchor in anchors]
    avif = [len(file) for anchor, file in files if anchor.family == "avif" and len(file) <= budget]
    target = Target(max_bytes=min([budget, *avif]))
    stream = codec.encode([picture], [target], effort=effort)[0]
    with_effort = f", effort {effort}" if effort else ""
    yield "original", picture
    caption = f"ziggurat {codec.name}{with_effort}\n{len(stream.data)} bytes"
    yield caption, codec.decode([stream.data])[0]
    for anchor, file in files:
        yield f"{anchor.name}\n{len(file)} bytes", anchor.decode(file)


def _file(anchor: Anchor, picture: Picture, budget: int, known: AnchorPoints) -> bytes:
    best = known.largest_within(anchor, picture, budget)
    return anchor.encode(picture, int(best.setting) if best else min(anchor.qualities))
