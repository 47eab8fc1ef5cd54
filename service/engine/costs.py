"""Costs of requests, for admission: how much room each takes, and about how long.

The unit is a pixel quantised without effort to a budget, the commonest work of the device. The
rates say what a pixel of other work takes in that unit. They were measured on a Kodak picture at
0.3 bits per pixel, on one core with AMX. The device's own speed comes in only when admission
multiplies by `DeviceThread.seconds_per_pixel`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from models import Target
from models.codec import CodecName
from models.collection import QUALITIES
from models.hybrid.libaom import SECONDS_PER_MEGAPIXEL, speed_of
from models.rate_control.quality_search import MOST_REFINED

from .. import images
from ..images import ImageFormat
from .effort import cost as effort_rate
from .results import OF_SETS, Measure

# Pictures of more pixels are large: the codec cuts them into tiles, between which the device runs
# other jobs, and no batch holds them.
LARGE_PIXELS = 1 << 22

RECONSTRUCT = 0.6  # with its post-processing, 0.5 to 0.6
IMPROVE = 0.3  # post-processing alone
SCORES = {Measure.PSNR: 0.03, Measure.MS_SSIM: 0.3, Measure.SSIMULACRA2: 0.7}
# Streams that a search by quality makes, decodes and measures: on Kodak 3.0 to 4.2 in the mean, and
# 5 of AVIF, whose quality does not rise as evenly.
ATTEMPTS = 4
AVIF_ATTEMPTS = 5
AVIF_ENCODES = 4  # of a search, in the mean
# libaom's seconds, in the table that `libaom` has of them, that a pixel's quantisation takes on the
# same core.
AVIF_SECONDS_PER_MEGAPIXEL = 1.5


# Of other codecs' encoders, as `images.encode_at` runs them on the same core; AVIF has the table.
ENCODES = 7  # of a search among a hundred qualities
ENCODER_SECONDS_PER_MEGAPIXEL = {ImageFormat.JPEG: 0.03, ImageFormat.WEBP: 0.2}


class Size(Enum):
    """Which room a request takes: those of one size are never in the way of those of another."""

    SMALL = "small"
    LARGE = "large"
    COLLECTION = "collection"


@dataclass(frozen=True, slots=True)
class Cost:
    """Cost of a request, in pixels quantised without effort.

    Attributes:
        pixels: of all its pictures.
        size: which room it takes.
        work: what must be done.
        effort: what effort adds, as far as there is time for it.
    """

    pixels: int
    size: Size
    work: float
    effort: float = 0.0


def compress(
    pixels: int,
    codec: CodecName = "learned",
    report: Iterable[Measure] = (),
    effort: int = 0,
    target: Target | None = None,
) -> Cost:
    """Estimate compressing one picture; arguments are those of `PictureCoder.compress`.

    Without a target it is to a budget.
    """
    minima = {Measure(score) for score in target.minima} if target else set()
    asked = set(report) - minima
    if codec == "auto" and Measure.MS_SSIM not in minima:
        asked.add(Measure.MS_SSIM)  # the dearer of the two that may decide
    attempts = ATTEMPTS if minima else 1
    rate = 0.0
    if codec != "hybrid":
        rate += attempts * (1 + measuring(minima)) + measuring(asked)
    if codec != "learned":
        attempts = AVIF_ATTEMPTS if minima else 1
        has_budget = target is None or (target.bpp, target.max_bytes) != (None, None)
        encodes = (AVIF_ENCODES if has_budget else 1) + attempts - 1
        rate += encodes * _encoding_avif(pixels)
        rate += attempts * _showing_avif(minima) + _showing_avif(asked)
    refined = MOST_REFINED if minima else 1
    return Cost(pixels, _size(pixels), rate * pixels, refined * effort_rate(effort) * pixels)


def decompress(pixels: int) -> Cost:
    """Estimate decompressing one picture."""
    return Cost(pixels, _size(pixels), RECONSTRUCT * pixels)


def enhance(pixels: int) -> Cost:
    """Estimate post-processing one picture."""
    return Cost(pixels, _size(pixels), IMPROVE * pixels)


def encode(pixels: int, image_format: ImageFormat, report: Iterable[Measure] = ()) -> Cost:
    """Estimate a search for the best file of another codec, and measuring it."""
    seconds = ENCODER_SECONDS_PER_MEGAPIXEL.get(image_format)
    if seconds is None:
        seconds = SECONDS_PER_MEGAPIXEL[images.avif_speed(pixels)]
    rate = ENCODES * seconds / AVIF_SECONDS_PER_MEGAPIXEL + comparing(set(report))
    return Cost(pixels, _size(pixels), rate * pixels)


def allocate(pixels: int, effort: int = 0) -> Cost:
    """Estimate compressing many pictures to one budget: each is measured, then compressed.

    `pixels` are those of all of them.
    """
    passes = len(QUALITIES) + 1
    rate = passes * (1 + measuring(OF_SETS))
    return Cost(pixels, Size.COLLECTION, rate * pixels, effort_rate(effort) * pixels)


def measuring(measures: Iterable[Measure]) -> float:
    """Rate of decoding a picture and scoring it; 0 for no measures."""
    asked = set(measures)
    return RECONSTRUCT + comparing(asked) if asked else 0.0


def comparing(measures: Iterable[Measure]) -> float:
    """Rate of scoring a decoded picture."""
    return sum(SCORES[measure] for measure in measures)


def _encoding_avif(pixels: int) -> float:
    """Rate of an encode without effort, at which the hybrid codec may always end a search."""
    return SECONDS_PER_MEGAPIXEL[speed_of(0, pixels)] / AVIF_SECONDS_PER_MEGAPIXEL


def _showing_avif(measures: Iterable[Measure]) -> float:
    """Rate of improving and scoring a decoded AVIF; 0 for no measures."""
    asked = set(measures)
    return IMPROVE + comparing(asked) if asked else 0.0


def is_large(pixels: int) -> bool:
    """Say whether a picture is large."""
    return pixels > LARGE_PIXELS


def _size(pixels: int) -> Size:
    return Size.LARGE if is_large(pixels) else Size.SMALL
