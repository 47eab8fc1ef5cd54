"""What a post-processor gains on the files of other codecs: the same bytes, before and after."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from models import sources
from models.evaluation.anchors import ANCHORS, Anchor
from models.evaluation.points import fingerprint, measure
from models.picture import Picture
from models.post_model import Gain
from models.postprocessor import PostProcessor

QUALITIES: Mapping[str, tuple[int, ...]] = {
    "jpeg": (10, 20, 30, 45, 60),
    "webp": (5, 20, 40, 60),
    "avif-420": (10, 25, 40, 60),
    "avif-444-psnr": (20, 40),
}
"""By the name of the anchor: for AVIF the default settings and those best for PSNR."""


def codecs() -> list[Anchor]:
    """The anchors of `QUALITIES`, AVIF at the speed that Pillow takes unless told otherwise: what most files in the world are made with."""
    chosen = [anchor for anchor in ANCHORS if anchor.name in QUALITIES]
    return [replace(one, options={**one.options, "speed": 6}) if one.family == "avif" else one for one in chosen]


def gains(
    post_processor: PostProcessor, pictures: Sequence[Picture], files: Path, *, report: Callable[[str], None] = lambda _: None
) -> tuple[Gain, ...]:
    """Means over the pictures at every setting of `QUALITIES`. Encoded files are kept in the folder `files`, and used again."""
    found = []
    for anchor in codecs():
        for quality in QUALITIES[anchor.name]:
            rows = [_gain(post_processor, picture, anchor, quality, files) for picture in pictures]
            bpp, before, after, similar_before, similar_after = (round(float(mean), 5) for mean in np.mean(rows, 0))
            found.append(Gain(anchor.name, quality, bpp, (before, after), (similar_before, similar_after)))
            report(f"{anchor.name} {quality}: {bpp:.3f} bpp, {before:.3f} dB, {after - before:+.3f} dB")
    return tuple(found)


def encoded(picture: Picture, anchor: Anchor, quality: int, files: Path) -> bytes:
    """The picture's file at this setting, made once."""
    path = files / f"{fingerprint(picture)[:16]}-{anchor.name}-{quality}"
    if not path.exists():
        files.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        partial.write_bytes(anchor.encode(picture, quality))
        partial.replace(path)
    return path.read_bytes()


def _gain(post_processor: PostProcessor, picture: Picture, anchor: Anchor, quality: int, files: Path) -> tuple[float, ...]:
    data = encoded(picture, anchor, quality, files)
    decoded = anchor.decode(data)
    improved = post_processor.improve([decoded], [sources.read(data)])[0]
    before, after = (measure(picture, one, setting=quality, size=len(data)) for one in (decoded, improved))
    return before.bpp, before.psnr, after.psnr, before.ms_ssim, after.ms_ssim
