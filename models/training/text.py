"""Text and borders on training pictures, as captions, interfaces and films have them.

Photographs have next to none, and what a codec has not seen it garbles.
"""

from __future__ import annotations

import math
import string
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

FOLDERS = (Path("/usr/share/fonts"), Path("/usr/local/share/fonts"), Path.home() / ".fonts")
SIZES = (8, 48)  # of letters in pixels, drawn log-uniformly
BLOCKS = (4, 12)  # of text on a picture of 512x512 pixels
LINES = (1, 4)  # of a block
WORDS = (1, 7)  # of a line
BORDERED = 0.2  # share of the pictures that have a border on two sides
LARGEST_BORDER = 0.15  # of a picture's side
LETTERS = "etaoinshrdlucmfwypvbgkqjxz"  # from the most frequent one of English to the rarest
PUNCTUATION = ".,:;!?-()/&%+@"

_Colour = tuple[int, int, int]


def decorate(picture: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Write on a picture (H, W, 3), all over it, and give some a border; the original is kept."""
    image = Image.fromarray(picture)
    draw = ImageDraw.Draw(image)
    if rng.random() < BORDERED:
        _border(draw, image.size, rng)
    blocks = rng.integers(*BLOCKS, endpoint=True) * image.width * image.height / 512**2
    for _ in range(max(1, round(blocks))):
        _write(draw, image.size, rng)
    return np.asarray(image)


@cache
def fonts() -> tuple[Path | None, ...]:
    """List the fonts of this machine that have Latin letters; None stands for Pillow's own."""
    files = (path for folder in FOLDERS for path in sorted(folder.rglob("*.[to]tf")))
    return (None, *(path for path in files if _is_latin(path)))


def _is_latin(path: Path) -> bool:
    try:
        font = ImageFont.truetype(path, 20)
    except OSError:
        return False
    # Symbol fonts show one and the same box for letters that they lack.
    return len({bytes(font.getmask(letter)) for letter in "aeg"}) == 3


def _border(draw: ImageDraw.ImageDraw, size: tuple[int, int], rng: np.random.Generator) -> None:
    """Paint bars above and below or left and right, mostly black."""
    width, height = size
    colour = (0, 0, 0) if rng.random() < 0.7 else _any_colour(rng)
    across = rng.random() < 0.5
    bar = int(rng.integers(1, 2 + round(LARGEST_BORDER * (height if across else width))))
    if across:
        boxes = [(0, 0, width, bar), (0, height - bar, width, height)]
    else:
        boxes = [(0, 0, bar, height), (width - bar, 0, width, height)]
    for box in boxes:
        draw.rectangle(box, fill=colour)


def _write(draw: ImageDraw.ImageDraw, size: tuple[int, int], rng: np.random.Generator) -> None:
    """Write a block of lines somewhere: plain, outlined or on a box."""
    pixels = math.exp(rng.uniform(*np.log(SIZES)))
    font = _font(fonts()[rng.integers(len(fonts()))], round(pixels))
    text = "\n".join(_line(rng) for _ in range(rng.integers(*LINES, endpoint=True)))
    place = (int(rng.integers(-20, size[0])), int(rng.integers(0, size[1])))
    ink, paper = _pair_of_colours(rng)
    ground = rng.random()
    if ground < 0.35:
        left, top, right, bottom = draw.multiline_textbbox(place, text, font=font)
        margin = pixels / 4
        draw.rectangle((left - margin, top - margin, right + margin, bottom + margin), fill=paper)
    outline = max(1, round(pixels / 16)) if ground > 0.75 else 0
    draw.multiline_text(place, text, fill=ink, font=font, stroke_width=outline, stroke_fill=paper)


@cache
def _font(path: Path | None, size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size) if path is None else ImageFont.truetype(path, size)


def _line(rng: np.random.Generator) -> str:
    return " ".join(_word(rng) for _ in range(rng.integers(*WORDS, endpoint=True)))


def _word(rng: np.random.Generator) -> str:
    length = int(rng.integers(1, 10))
    if rng.random() < 0.15:
        return "".join(rng.choice(list(string.digits + ".:"), length))
    ranks = rng.geometric(0.12, length) % len(LETTERS)
    word = "".join(LETTERS[rank] for rank in ranks)
    style = rng.random()
    word = word.upper() if style < 0.15 else word.capitalize() if style < 0.4 else word
    return word + str(rng.choice(list(PUNCTUATION))) if rng.random() < 0.15 else word


def _pair_of_colours(rng: np.random.Generator) -> tuple[_Colour, _Colour]:
    """Choose ink and paper: mostly black and white, either way."""
    kind = rng.random()
    if kind < 0.35:
        return (0, 0, 0), (255, 255, 255)
    if kind < 0.7:
        return (255, 255, 255), (0, 0, 0)
    return _any_colour(rng), (0, 0, 0) if rng.random() < 0.5 else _any_colour(rng)


def _any_colour(rng: np.random.Generator) -> _Colour:
    red, green, blue = (int(value) for value in rng.integers(0, 256, 3))
    return red, green, blue
