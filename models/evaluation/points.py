"""One picture through one codec at one setting: real bytes, and how far the result is from it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from models.evaluation.anchors import Anchor
from models.evaluation.judges import Judge, Pair, scores
from models.files import write_atomically
from models.metrics import ms_ssim, psnr
from models.picture import Picture
from models.rate_control import Target

PIXEL_EXACT_PSNR = 99.0  # dB, for infinity, where a codec returned every pixel as it was


@dataclass(frozen=True, slots=True)
class Point:
    """A measured stream.

    Attributes:
        setting: the codec's own quality.
        size: bytes of the whole file.
        bpp: bits per pixel.
        psnr: dB over all RGB samples.
        ms_ssim: in [0, 1], mean over the RGB planes.
        scores: of the judges that were asked, in the order of `judges.JUDGES` or another.
    """

    setting: float
    size: int
    bpp: float
    psnr: float
    ms_ssim: float
    scores: Mapping[Judge, float] = field(default_factory=dict)


def measure(
    picture: Picture,
    decoded: Picture,
    *,
    setting: float,
    size: int,
    device: str = "cpu",
    judges: Iterable[Judge] = (),
    known: Mapping[Judge, float] | None = None,
) -> Point:
    """Measure a stream.

    Args:
        picture: the original.
        decoded: from the stream.
        setting: that the stream was made with.
        size: of the stream in bytes.
        device: computes the metrics, all but VMAF.
        judges: whose scores are taken too.
        known: scores of this stream from before, which are not taken again.
    """
    known = known or {}
    pair = Pair(decoded.rgb, picture.rgb, device)
    return Point(
        setting,
        size,
        bpp=8 * size / picture.pixels,
        psnr=min(float(psnr(*pair.rgb)), PIXEL_EXACT_PSNR),
        ms_ssim=float(ms_ssim(*pair.rgb)),
        scores={**known, **scores(pair, [judge for judge in judges if judge not in known])},
    )


@dataclass(frozen=True, slots=True)
class StoredPoint:
    """An anchor's file as far as it is known: its size, and the metrics that were taken.

    In JSON it is [size], [size, psnr, ms_ssim] or [size, psnr, ms_ssim, scores by judge].

    Attributes:
        size: in bytes.
        psnr: in dB; None, as MS-SSIM, where a search only looked at the size.
        ms_ssim: in [0, 1].
        scores: of the judges that were asked.
    """

    size: int
    psnr: float | None = None
    ms_ssim: float | None = None
    scores: Mapping[Judge, float] = field(default_factory=dict)

    @classmethod
    def from_point(cls, point: Point) -> StoredPoint:
        """Round the metrics to what is stored."""
        scores = {judge: float(f"{score:.7g}") for judge, score in point.scores.items()}
        return cls(point.size, round(point.psnr, 4), round(point.ms_ssim, 6), scores)

    def to_json(self) -> list[Any]:
        """Make a list, without what was not taken."""
        if self.psnr is None:
            return [self.size]
        scores = [dict(self.scores)] if self.scores else []
        return [self.size, self.psnr, self.ms_ssim, *scores]

    def to_point(self, setting: float, pixels: int, judges: Iterable[Judge]) -> Point | None:
        """Complete the point for a picture of so many pixels; None where a metric is missing."""
        if self.psnr is None or self.ms_ssim is None or not set(judges) <= set(self.scores):
            return None
        return Point(setting, self.size, 8 * self.size / pixels, self.psnr, self.ms_ssim, self.scores)


class AnchorPoints:
    """Measured points of the anchors, kept in a JSON file.

    The slow encoders run once per picture and setting. A point is filed under the pixels' hash, the
    anchor with its library's version, and the quality.

    Change `METHOD` when the metrics do, or the file's form.

    Args:
        path: the file, created by `save`; None keeps nothing.
        judges: are asked at the anchors' `judged` qualities.
    """

    METHOD = "psnr-rgb, ms-ssim-rgb, judges 2"

    def __init__(self, path: Path | None, judges: Sequence[Judge] = ()) -> None:
        self._path = path
        self._judges = judges
        self._stored: dict[str, dict[int, StoredPoint]] = {}
        if path is not None and path.exists():
            document = json.loads(path.read_text())
            if document["method"] == self.METHOD:
                self._stored = {
                    key: {int(quality): StoredPoint(*row) for quality, row in rows.items()}
                    for key, rows in document["points"].items()
                }

    def point(self, anchor: Anchor, picture: Picture, quality: int) -> Point:
        """Look up the point, or measure it. Several threads may ask, each for another anchor."""
        stored = self._of(anchor, picture)
        judges = self._judges if quality in anchor.judged else ()
        before = stored.get(quality)
        if before is not None:
            known = before.to_point(quality, picture.pixels, judges)
            if known is not None:
                return known
        file = anchor.encode(picture, quality)
        point = measure(
            picture,
            anchor.decode(file),
            setting=quality,
            size=len(file),
            judges=judges,
            known=before.scores if before is not None else None,
        )
        stored[quality] = StoredPoint.from_point(point)
        return point

    def size(self, anchor: Anchor, picture: Picture, quality: int) -> int:
        """Look up or find the bytes of the file, for less than the point costs."""
        stored = self._of(anchor, picture)
        if quality not in stored:
            stored[quality] = StoredPoint(len(anchor.encode(picture, quality)))
        return stored[quality].size

    def sweep(self, anchor: Anchor, picture: Picture) -> tuple[Point, ...]:
        """Look up or measure the anchor's whole curve for one picture."""
        return tuple(self.point(anchor, picture, quality) for quality in anchor.qualities)

    def largest_within(self, anchor: Anchor, picture: Picture, size: int) -> Point | None:
        """Find the stream of the highest quality that has at most `size` bytes.

        None where even the lowest of the anchor's qualities has more.
        """
        quality = largest_within(partial(self.size, anchor, picture), anchor.qualities, size)
        return None if quality is None else self.point(anchor, picture, quality)

    def save(self) -> None:
        """Write the file anew, atomically; other threads may be adding points."""
        if self._path is None:
            return
        rows = {
            key: {quality: point.to_json() for quality, point in list(stored.items())}
            for key, stored in list(self._stored.items())
        }
        lines = ",\n".join(f"  {json.dumps(key)}: {json.dumps(row)}" for key, row in sorted(rows.items()))
        text = f'{{"method": {json.dumps(self.METHOD)}, "points": {{\n{lines}\n}}}}\n'
        write_atomically(self._path, text.encode())

    def _of(self, anchor: Anchor, picture: Picture) -> dict[int, StoredPoint]:
        """Find what is known of a picture through an anchor, by quality; it may be added to."""
        key = f"{fingerprint(picture)} {anchor.name} {anchor.version}"
        return self._stored.setdefault(key, {})


def largest_within(size_at: Callable[[int], int], known: Sequence[int], size: float) -> int | None:
    """Find the highest integer quality in 0..100 whose stream has at most `size` bytes.

    By bisection between the qualities already `known`; None where even the lowest of them has more.
    """
    inside = [quality for quality in known if size_at(quality) <= size]
    if not inside:
        return None
    best = max(inside)
    beyond = min((quality for quality in known if quality > best), default=101)
    while beyond - best > 1:
        middle = (best + beyond) // 2
        if size_at(middle) <= size:
            best = middle
        else:
            beyond = middle
    return best


def budget_of(bpp: float, pixels: int) -> int:
    """Compute the largest size in bytes that is within `bpp` bits per pixel."""
    budget = Target(bpp=bpp).budget(pixels)
    assert budget is not None  # only a quality has none
    return budget


def fingerprint(picture: Picture) -> str:
    """Name the pixels by 16 hex digits."""
    pixels = str(picture.rgb.shape).encode() + picture.rgb.tobytes()
    return hashlib.sha256(pixels).hexdigest()[:16]
