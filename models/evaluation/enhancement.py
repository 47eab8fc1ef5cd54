"""Gains of a post-processor, on the files of other codecs or on our streams: at the same bytes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np

from models.errors import UnknownModelError
from models.evaluation.anchors import ANCHORS
from models.evaluation.points import Point, fingerprint, measure
from models.files import write_atomically
from models.learned.codec import LearnedCodec
from models.picture import Picture
from models.postprocess import sources
from models.postprocess.model import Gain
from models.postprocess.postprocessor import PostProcessor
from models.postprocess.sources import Source
from models.rate_control import Position, Target
from models.weights import registry

QUALITIES: Mapping[str, tuple[int, ...]] = {
    "jpeg": (10, 20, 30, 45, 60),
    "webp": (5, 20, 40, 60),
    "avif-420": (10, 25, 40, 60),
    "avif-444-psnr": (20, 40),
}
"""Qualities by the name of the anchor: for AVIF its default settings and those best for PSNR."""

OWN_QUALITIES = (0, 15, 30, 45, 60, 75, 85)
# The speed that Pillow takes unless told otherwise: most AVIF files in the world are made with it.
AVIF_SPEED = 6


class Maker(Protocol):
    """A maker of files: one of `models.evaluation.anchors`, or `Own`."""

    @property
    def name(self) -> str:
        """Name for tables and files."""

    def encode(self, picture: Picture, quality: int) -> bytes:
        """Encode a picture to a file."""

    def decode(self, data: bytes) -> Picture:
        """Decode a file, without any post-processing."""


@dataclass(frozen=True)
class Own:
    """Our learned codec as a maker of files."""

    codec: LearnedCodec

    @property
    def name(self) -> str:
        """Name with the model's id: other weights make other files."""
        return f"{self.codec.name}-{self.codec.model_id}"

    def encode(self, picture: Picture, quality: int) -> bytes:
        """Encode a picture to a stream."""
        return self.codec.encode([picture], [Target(quality=quality)])[0].data

    def decode(self, data: bytes) -> Picture:
        """Decode a stream, without any post-processing."""
        return self.codec.decode([data], postprocess="off")[0]


def makers(post_processor: PostProcessor) -> list[tuple[Maker, tuple[int, ...]]]:
    """List the codecs that the post-processor is for, each with the qualities to measure at."""
    found: list[tuple[Maker, tuple[int, ...]]] = []
    for kind in post_processor.topology.kinds:
        for anchor in ANCHORS:
            if anchor.family != kind or anchor.name not in QUALITIES:
                continue
            if kind == "avif":
                anchor = replace(anchor, options={**anchor.options, "speed": AVIF_SPEED})
            found.append((anchor, QUALITIES[anchor.name]))
        with suppress(UnknownModelError):
            own = Own(LearnedCodec.load(registry.name_of(kind)))
            suited = (
                quality
                for quality in OWN_QUALITIES
                if post_processor.suits(Source.learned(kind, Position.from_quality(quality)))
            )
            found.append((own, tuple(suited)))
    return found


def gains(
    post_processor: PostProcessor,
    pictures: Sequence[Picture],
    files: Path,
    *,
    report: Callable[[str], None] = lambda _: None,
) -> tuple[Gain, ...]:
    """Measure means over the pictures at every setting of `makers`.

    Args:
        post_processor: what is judged.
        pictures: originals.
        files: folder in which encoded files are kept, to be used again.
        report: told every gain.
    """
    found = []
    for maker, qualities in makers(post_processor):
        for quality in qualities:
            gain = _mean_gain(post_processor, pictures, maker, quality, files)
            found.append(gain)
            report(_described(gain))
    return tuple(found)


def encoded(picture: Picture, maker: Maker, quality: int, files: Path) -> bytes:
    """Encode the picture, or read the file that was made of it before."""
    path = files / f"{fingerprint(picture)[:16]}-{maker.name}-{quality}"
    if not path.exists():
        files.mkdir(parents=True, exist_ok=True)
        write_atomically(path, maker.encode(picture, quality))
    return path.read_bytes()


def _mean_gain(
    post_processor: PostProcessor,
    pictures: Sequence[Picture],
    maker: Maker,
    quality: int,
    files: Path,
) -> Gain:
    points = [_points(post_processor, picture, maker, quality, files) for picture in pictures]
    before = [point for point, _ in points]
    after = [point for _, point in points]
    return Gain(
        maker.name,
        quality,
        _mean([point.bpp for point in before]),
        psnr=(_mean([point.psnr for point in before]), _mean([point.psnr for point in after])),
        ms_ssim=(
            _mean([point.ms_ssim for point in before]),
            _mean([point.ms_ssim for point in after]),
        ),
    )


def _points(
    post_processor: PostProcessor, picture: Picture, maker: Maker, quality: int, files: Path
) -> tuple[Point, Point]:
    """Measure one picture before post-processing and after it."""
    file = encoded(picture, maker, quality, files)
    decoded = maker.decode(file)
    improved = post_processor.improve([decoded], [sources.read(file)])[0]
    return (
        measure(picture, decoded, setting=quality, size=len(file)),
        measure(picture, improved, setting=quality, size=len(file)),
    )


def _mean(values: Sequence[float]) -> float:
    return round(float(np.mean(values)), 5)


def _described(gain: Gain) -> str:
    before, after = gain.psnr
    similar_before, similar_after = gain.ms_ssim
    return (
        f"{gain.codec} {gain.quality}: {gain.bpp:.3f} bpp, {before:.3f} dB, {after - before:+.3f} dB, "
        f"MS-SSIM {similar_before:.4f}, {similar_after - similar_before:+.4f}"
    )
