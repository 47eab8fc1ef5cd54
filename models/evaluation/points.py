"""One picture through one codec at one setting: real bytes, and how far the result is from it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass
from functools import partial
from pathlib import Path

import torch

from models.evaluation.anchors import Anchor
from models.evaluation.ssimulacra2 import ssimulacra2
from models.evaluation.vmaf import vmaf
from models.files import write_atomically
from models.metrics import ms_ssim, psnr
from models.picture import Picture
from models.rate_control import Target
from models.tensors import to_batch

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
        ssimulacra2: at most 100; None where it was not taken.
        vmaf: VMAF NEG in [0, 100]; None where it was not taken.
    """

    setting: float
    size: int
    bpp: float
    psnr: float
    ms_ssim: float
    ssimulacra2: float | None = None
    vmaf: float | None = None


def measure(
    picture: Picture,
    decoded: Picture,
    *,
    setting: float,
    size: int,
    device: str = "cpu",
    perceptual: bool = False,
) -> Point:
    """Measure a stream.

    Args:
        picture: the original.
        decoded: from the stream.
        setting: that the stream was made with.
        size: of the stream in bytes.
        device: computes the metrics, all but VMAF.
        perceptual: take the slower, perceptual metrics too.
    """
    x = to_batch([picture.rgb], torch.device(device))
    x_hat = to_batch([decoded.rgb], torch.device(device))
    with torch.no_grad():
        return Point(
            setting,
            size,
            bpp=8 * size / picture.pixels,
            psnr=min(float(psnr(x_hat, x)), PIXEL_EXACT_PSNR),
            ms_ssim=float(ms_ssim(x_hat, x)),
            ssimulacra2=float(ssimulacra2(x_hat, x)) if perceptual else None,
            vmaf=vmaf(decoded.rgb, picture.rgb) if perceptual else None,
        )


@dataclass(frozen=True, slots=True)
class StoredPoint:
    """An anchor's file as far as it is known: its size, and the scores that were taken.

    In JSON it is a list, as long as there are scores: [size], [size, psnr, ms_ssim] or all five.

    Attributes:
        size: in bytes.
        psnr: in dB; None, as MS-SSIM, where a search only looked at the size.
        ms_ssim: in [0, 1].
        ssimulacra2: at most 100; None, as VMAF, where the perceptual metrics were not taken.
        vmaf: in [0, 100].
    """

    size: int
    psnr: float | None = None
    ms_ssim: float | None = None
    ssimulacra2: float | None = None
    vmaf: float | None = None

    @classmethod
    def from_point(cls, point: Point) -> StoredPoint:
        """Round the scores to what is stored."""
        return cls(
            point.size,
            round(point.psnr, 4),
            round(point.ms_ssim, 6),
            None if point.ssimulacra2 is None else round(point.ssimulacra2, 3),
            None if point.vmaf is None else round(point.vmaf, 3),
        )

    @classmethod
    def from_json(cls, row: Sequence[float]) -> StoredPoint:
        """Read a list."""
        size, *scores = row
        return cls(int(size), *scores)

    def to_json(self) -> list[float]:
        """Make a list, without scores that were not taken."""
        return [value for value in astuple(self) if value is not None]

    def to_point(self, setting: float, pixels: int, *, perceptual: bool) -> Point | None:
        """Complete the point for a picture of so many pixels; None where scores are missing."""
        if self.psnr is None or self.ms_ssim is None:
            return None
        if perceptual and (self.ssimulacra2 is None or self.vmaf is None):
            return None
        bpp = 8 * self.size / pixels
        return Point(setting, self.size, bpp, self.psnr, self.ms_ssim, self.ssimulacra2, self.vmaf)


class AnchorPoints:
    """Measured points of the anchors, kept in a JSON file.

    The slow encoders run once per picture and setting. A point is filed under the pixels' hash, the
    anchor with its library's version, and the quality.

    Change `METHOD` when the metrics do.

    Args:
        path: the file, created by `save`; None keeps nothing.
        perceptual: take the perceptual metrics, at the anchors' `judged` qualities.
    """

    METHOD = "psnr-rgb, ms-ssim-rgb 1"

    def __init__(self, path: Path | None, *, perceptual: bool = True) -> None:
        self._path = path
        self._perceptual = perceptual
        self._stored: dict[str, dict[int, StoredPoint]] = {}
        if path is not None and path.exists():
            document = json.loads(path.read_text())
            if document["method"] == self.METHOD:
                self._stored = {
                    key: {int(quality): StoredPoint.from_json(row) for quality, row in rows.items()}
                    for key, rows in document["points"].items()
                }

    def point(self, anchor: Anchor, picture: Picture, quality: int) -> Point:
        """Look up the point, or measure it. Several threads may ask, each for another anchor."""
        stored = self._of(anchor, picture)
        perceptual = self._perceptual and quality in anchor.judged
        if quality in stored:
            known = stored[quality].to_point(quality, picture.pixels, perceptual=perceptual)
            if known is not None:
                return known
        file = anchor.encode(picture, quality)
        point = measure(picture, anchor.decode(file), setting=quality, size=len(file), perceptual=perceptual)
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
        """Write the file anew, atomically."""
        if self._path is None:
            return
        rows = {
            key: {quality: point.to_json() for quality, point in stored.items()}
            for key, stored in self._stored.items()
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
