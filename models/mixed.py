"""What to make of a picture: a learned stream, a hybrid one, or a learned one with an overlay.

    picture --cells--> text, flat areas --choice--> "learned", "hybrid", "mixed" or "both"

    mixed    the rest, text filled --learned codec, rate control alone--> quality
             text, the rest filled --AVIF at a setting for that quality--> overlay section
             the rest --learned codec, within what is left of the budget--> stream

Nothing is encoded to choose, and AVIF is encoded once, or twice where that takes too much. An easy
picture is of high quality within the same budget, and so is its text: the setting does not follow
from the budget itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from models.avif.section import strip
from models.bitstream import Bitstream
from models.hybrid import libaom
from models.metadata import bytes_of
from models.overlay import fill
from models.overlay.cells import Content, content
from models.overlay.section import pack
from models.picture import Picture
from models.rate_control import Metric
from models.rate_control.avif_search import STRENGTHS, average_sizes
from models.stream import Choice, Stream

# Shares of the cells of a picture
DRAWN_PHOTOGRAPHED = 0.1  # photographed, at most, of a picture that is drawn
MAYBE_PHOTOGRAPHED = 0.3  # photographed, at most, of one that may be better off as a drawn one
MAYBE_FLAT = 0.4  # flat, at least, of one without text that may be

# Quality of the learned codec above which AVIF may be better: by MS-SSIM it overtakes `visual`
# between 50 and 80 on twelve training pictures, and `ms-ssim` between 80 and 90.
FINEST_ALONE = 45.0
# Quality of the learned codec below which AVIF garbles letters too: at 0.15 bits per pixel an
# overlay made captions on training pictures worse by SSIMULACRA2, and at 0.3 much better.
COARSEST_MIXED = 38.0
MOST_OF_BUDGET = 0.5  # that an overlay may take
RETRY_SHARE = 0.9  # of that, which one that took more is made for again
TEXT_METRIC: Metric = "psnr"  # that AVIF is tuned for
TEXT_LEVELS_LOWER = 8  # of AVIF's quantiser: text of training pictures is then as in hybrid streams
MOST_LEVEL = 50  # finer ones are for what nobody sees

Encoder = Callable[[NDArray[np.uint8], Metric, int, int], bytes]
"""Encodes samples as `libaom.encode` does."""


def choice(content: Content) -> Choice:
    """Choose what to make of a picture; "both" where it does not tell which is better."""
    if not content.ink.any():
        return "both" if content.flat.mean() >= MAYBE_FLAT else "learned"
    if content.photographed <= DRAWN_PHOTOGRAPHED:
        return "hybrid"
    return "both" if content.photographed <= MAYBE_PHOTOGRAPHED else "mixed"


def look(picture: Picture, metric: Metric, effort: int = 0) -> tuple[Choice, Mixture | None]:
    """Choose what to make of a picture, and take it apart if that is a mixture.

    By PSNR AVIF and the learned codec are too close to tell from a photograph alone.
    """
    found = content(picture.rgb)
    chosen = choice(found)
    if metric == "psnr" and chosen != "hybrid":
        return "both", None
    return chosen, Mixture(picture, found, effort=effort) if chosen == "mixed" else None


def suffices(stream: Stream, chosen: Choice) -> bool:
    """Tell whether what was chosen will do; else the other codec is to be tried too.

    It misses its target, has no room for its overlay or is too coarse for one, or is so fine that
    AVIF may be better.
    """
    if chosen == "hybrid":
        return stream.target_met or (stream.within_budget and not stream.target.minima)
    has_overlay = Bitstream.parse(stream.data).overlay is not None
    return stream.target_met and has_overlay == (chosen == "mixed") and stream.quality <= FINEST_ALONE


class Mixture:
    """A picture with text, in its two parts.

    Args:
        picture: all of it.
        content: of it; there is text.
        effort: 0 to 9, of AVIF.
        encoder: encodes AVIF.

    Attributes:
        rest: the picture for the learned codec, text filled from its surroundings.
    """

    def __init__(
        self, picture: Picture, content: Content, *, effort: int = 0, encoder: Encoder = libaom.encode
    ) -> None:
        self._blocks = content.ink
        self._pixels = picture.pixels
        self._speed = libaom.speed_of(effort, picture.pixels)
        self._encode = encoder
        self._greyscale = picture.greyscale
        self._text = fill.only(picture.rgb, content.ink)
        self._sections: dict[int, bytes] = {}
        self.rest = replace(picture, rgb=fill.without(picture.rgb, content.ink))

    def section(self, quality: float, bpp: float, budget: int | None = None) -> bytes:
        """Make the overlay section; it is empty where an overlay will not do.

        Args:
            quality: that the learned codec reaches with the rest.
            bpp: bits per pixel of an average photograph at this quality. AVIF's setting is a little
                below that at which it makes as many of one.
            budget: bytes of the whole stream. A section that takes too much of it is made once
                more, at a setting that promises to fit.
        """
        if quality < COARSEST_MIXED:
            return b""
        most = math.inf if budget is None else MOST_OF_BUDGET * budget
        sizes = average_sizes(self._pixels)
        level = int(np.searchsorted(sizes, bpp * self._pixels / 8, side="right")) - 1
        level = min(max(level - TEXT_LEVELS_LOWER, 0), MOST_LEVEL)
        section = self._at(level)
        if bytes_of(section) > most:
            # Bytes of text rise about as the square root of a photograph's.
            promised = np.sqrt(sizes / sizes[level]) * len(section)
            fitting = int(np.searchsorted(promised, RETRY_SHARE * most, side="right")) - 1
            section = self._at(max(fitting, 0))
        return section if bytes_of(section) <= most else b""

    def _at(self, level: int) -> bytes:
        if level not in self._sections:
            self._sections[level] = self._made(level * STRENGTHS)
        return self._sections[level]

    def _made(self, setting: int) -> bytes:
        height, width = self._text.shape[:2]
        samples = np.ascontiguousarray(self._text[..., 0]) if self._greyscale else self._text
        file = self._encode(samples, TEXT_METRIC, setting, self._speed)
        return pack(self._blocks, strip(file, width=width, height=height, mono=self._greyscale))
