"""What a post-processor gains on the files of other codecs, or on our own streams: the same bytes, before and after."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np

from models.errors import UnknownModelError
from models.evaluation.anchors import ANCHORS
from models.evaluation.points import fingerprint, measure
from models.learned.codec import LearnedCodec
from models.picture import Picture
from models.postprocess import sources
from models.postprocess.model import Gain
from models.postprocess.postprocessor import PostProcessor
from models.rate_control import Target
from models.weights import registry

QUALITIES: Mapping[str, tuple[int, ...]] = {
    "jpeg": (10, 20, 30, 45, 60),
    "webp": (5, 20, 40, 60),
    "avif-420": (10, 25, 40, 60),
    "avif-444-psnr": (20, 40),
}
"""By the name of the anchor: for AVIF the default settings and those best for PSNR."""
OWN_QUALITIES = (0, 15, 30, 45, 60, 75, 85)


class Maker(Protocol):
    """What makes the files: one of `models.evaluation.anchors`, or `Own`."""

    @property
    def name(self) -> str:
        """For tables and file names."""

    def encode(self, picture: Picture, quality: int) -> bytes:
        """A file."""

    def decode(self, data: bytes) -> Picture:
        """What it shows before any post-processing."""


@dataclass(frozen=True)
class Own:
    """Our learned codec."""

    codec: LearnedCodec

    @property
    def name(self) -> str:
        """With the model's id: other weights make other files."""
        return f"{self.codec.name}-{self.codec.model_id}"

    def encode(self, picture: Picture, quality: int) -> bytes:
        """A stream."""
        return self.codec.encode([picture], [Target(quality=quality)])[0].data

    def decode(self, data: bytes) -> Picture:
        """Of a stream."""
        return self.codec.decode([data], postprocess="off")[0]


def makers(post_processor: PostProcessor) -> list[tuple[Maker, tuple[int, ...]]]:
    """Codecs that the post-processor is for, each with the qualities to measure at.

    AVIF at the speed that Pillow takes unless told otherwise: what most files in the world are made with.
    """
    found: list[tuple[Maker, tuple[int, ...]]] = []
    for kind in post_processor.topology.kinds:
        of_kind = [anchor for anchor in ANCHORS if anchor.family == kind and anchor.name in QUALITIES]
        found += [
            (replace(anchor, options={**anchor.options, "speed": 6}) if kind == "avif" else anchor, QUALITIES[anchor.name])
            for anchor in of_kind
        ]
        with suppress(UnknownModelError):
            found.append((Own(LearnedCodec.load(registry.name_of(kind))), OWN_QUALITIES))
    return found


def gains(
    post_processor: PostProcessor, pictures: Sequence[Picture], files: Path, *, report: Callable[[str], None] = lambda _: None
) -> tuple[Gain, ...]:
    """Means over the pictures at every setting of `makers`. Encoded files are kept in the folder `files`, and used again."""
    found = []
    for maker, qualities in makers(post_processor):
        for quality in qualities:
            rows = [_gain(post_processor, picture, maker, quality, files) for picture in pictures]
            bpp, before, after, similar_before, similar_after = (round(float(mean), 5) for mean in np.mean(rows, 0))
            found.append(Gain(maker.name, quality, bpp, (before, after), (similar_before, similar_after)))
            similar = f"MS-SSIM {similar_before:.4f}, {similar_after - similar_before:+.4f}"
            report(f"{maker.name} {quality}: {bpp:.3f} bpp, {before:.3f} dB, {after - before:+.3f} dB, {similar}")
    return tuple(found)


def encoded(picture: Picture, maker: Maker, quality: int, files: Path) -> bytes:
    """The picture's file at this setting, made once."""
    path = files / f"{fingerprint(picture)[:16]}-{maker.name}-{quality}"
    if not path.exists():
        files.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        partial.write_bytes(maker.encode(picture, quality))
        partial.replace(path)
    return path.read_bytes()


def _gain(post_processor: PostProcessor, picture: Picture, maker: Maker, quality: int, files: Path) -> tuple[float, ...]:
    data = encoded(picture, maker, quality, files)
    decoded = maker.decode(data)
    improved = post_processor.improve([decoded], [sources.read(data)])[0]
    before, after = (measure(picture, one, setting=quality, size=len(data)) for one in (decoded, improved))
    return before.bpp, before.psnr, after.psnr, before.ms_ssim, after.ms_ssim
