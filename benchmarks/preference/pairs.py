"""Pairs: the same crop of the same picture by two codecs at the same bytes.

The other codec's file comes first, at the quality that is nearest to the rate. Ours is then made to
as many bytes, by bisection over its quality, which is finer. Nobody chooses what is shown: crops
follow a rule, and sides a seed.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models import Picture, Stream, Target
from models.bitstream import Bitstream
from models.evaluation.anchors import Anchor
from models.learned.codec import LearnedCodec

BYTES_RATIO = 0.005  # by which the two sizes may differ at most
SIDE = 448  # of a crop, in pixels: three stand beside each other on a screen of 1,440
BLOCK = 256  # pixels on a side, whose variance of luma says what a crop shows
RULES = ("centre", "busiest", "median")
_BISECTIONS = 16  # above what rate control finds, which stays within the bytes


@dataclass(frozen=True, slots=True)
class Box:
    """A crop: first row and column, height and width, in pixels."""

    top: int
    left: int
    height: int
    width: int

    def of(self, rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Cut it out of a picture (H, W, 3)."""
        return rgb[self.top : self.top + self.height, self.left : self.left + self.width]


@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    """What voters see, and what they must not know.

    Attributes:
        picture: its name.
        bpp: the rate that was asked for, bits per pixel of the whole picture.
        rule: by which the crop was chosen.
        box: the crop.
        left, right: names of the codecs on either side.
        bytes: whole files, left and right.
        original: the crop (h, w, 3).
        decoded: the crop by the codec on the left, and by that on the right.
    """

    picture: str
    bpp: float
    rule: str
    box: Box
    left: str
    right: str
    bytes: tuple[int, int]
    original: NDArray[np.uint8]
    decoded: tuple[NDArray[np.uint8], NDArray[np.uint8]]


@dataclass(frozen=True, slots=True)
class Plan:
    """A pair that is to be made.

    Attributes:
        picture: its number.
        bpp: bits per pixel.
        left: whether ours is on the left; None for a control, which shows the other codec twice.
    """

    picture: int
    bpp: float
    left: bool | None


def plan(pictures: int, rates: Sequence[float], *, seed: int, controls: int) -> list[Plan]:
    """Draw the order of the pairs, and their sides, by a seed."""
    rng = random.Random(seed)
    places = [(number, bpp) for number in range(pictures) for bpp in rates]
    plans = [Plan(*place, left=rng.random() < 0.5) for place in places]
    plans += [Plan(*place, left=None) for place in rng.sample(places, controls)]
    rng.shuffle(plans)
    return plans


def pairs(
    pictures: Sequence[tuple[str, Picture]], plans: Sequence[Plan], codec: LearnedCodec, other: Anchor
) -> Iterator[Pair]:
    """Make the pairs of a plan.

    Args:
        pictures: with their names.
        plans: of the pairs.
        codec: ours.
        other: what it is compared with.

    Raises:
        ValueError: a picture cannot be brought to the same bytes.
    """
    for planned in plans:
        name, picture = pictures[planned.picture]
        file = nearest(other, picture, planned.bpp)
        theirs = (other.name, len(file), other.decode(file).rgb)
        sides = [theirs, theirs]
        if planned.left is not None:
            stream = of_size(codec, picture, len(file))
            sides[not planned.left] = (codec.name, len(stream.data), codec.decode([stream.data])[0].rgb)
        left, right = sides
        rule = RULES[planned.picture % len(RULES)]
        box = crop(picture.rgb, rule)
        yield Pair(
            picture=name,
            bpp=planned.bpp,
            rule=rule,
            box=box,
            left=left[0],
            right=right[0],
            bytes=(left[1], right[1]),
            original=box.of(picture.rgb),
            decoded=(box.of(left[2]), box.of(right[2])),
        )


def nearest(anchor: Anchor, picture: Picture, bpp: float) -> bytes:
    """Encode with the quality, 0 to 100, whose file is nearest to a rate."""
    wanted = bpp * picture.pixels / 8
    low, high = 0, 100
    files = {quality: anchor.encode(picture, quality) for quality in (low, high)}
    while high - low > 1:
        middle = (low + high) // 2
        files[middle] = anchor.encode(picture, middle)
        if len(files[middle]) < wanted:
            low = middle
        else:
            high = middle
    return min((files[low], files[high]), key=lambda file: abs(len(file) - wanted))


def of_size(codec: LearnedCodec, picture: Picture, size: int) -> Stream:
    """Encode to a size in bytes, within `BYTES_RATIO`.

    Raises:
        ValueError: no quality comes so near.
    """
    best = codec.encode([picture], [Target(max_bytes=size)])[0]
    low = Bitstream.parse(best.data).position.quality
    high = 100.0
    for _ in range(_BISECTIONS):
        if abs(len(best.data) - size) <= BYTES_RATIO * size:
            return best
        middle = (low + high) / 2
        stream = codec.encode([picture], [Target(quality=middle)])[0]
        best = min(best, stream, key=lambda stream: abs(len(stream.data) - size))
        if len(stream.data) < size:
            low = middle
        else:
            high = middle
    raise ValueError(f"no stream within {BYTES_RATIO:.1%} of {size} bytes")


def crop(rgb: NDArray[np.uint8], rule: str) -> Box:
    """Choose a crop of a picture (H, W, 3): its centre, or around the block of 256 x 256 whose
    luma has the largest or the median variance.
    """
    height, width = rgb.shape[:2]
    middle = (height // 2, width // 2)
    if rule != "centre" and min(height, width) >= BLOCK:
        luma = rgb.astype(np.float32) @ np.array([0.2126, 0.7152, 0.0722], np.float32)
        tops = range(0, height - BLOCK + 1, BLOCK // 2)
        lefts = range(0, width - BLOCK + 1, BLOCK // 2)
        ranked = sorted(
            (float(luma[top : top + BLOCK, left : left + BLOCK].var()), top, left)
            for top in tops
            for left in lefts
        )
        _, top, left = ranked[-1] if rule == "busiest" else ranked[len(ranked) // 2]
        middle = (top + BLOCK // 2, left + BLOCK // 2)
    rows, columns = min(SIDE, height), min(SIDE, width)
    top = min(max(0, middle[0] - rows // 2), height - rows)
    left = min(max(0, middle[1] - columns // 2), width - columns)
    return Box(top, left, rows, columns)
