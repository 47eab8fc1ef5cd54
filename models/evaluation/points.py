"""One image through one codec at one setting: real bytes, and how far what comes back is from the original."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.evaluation.anchors import Anchor
from models.evaluation.ssimulacra2 import ssimulacra2
from models.evaluation.vmaf import vmaf
from models.metrics import ms_ssim, psnr
from models.picture import Picture

PIXEL_EXACT_PSNR = 99.0  # dB, stands for infinity where a codec returned every pixel as it was


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


def measure(picture: Picture, decoded: Picture, *, setting: float, size: int, device: str = "cpu", perceptual: bool = False) -> Point:
    """The point that a stream of `size` bytes which decodes to `decoded` makes; with the slower, perceptual metrics or without them."""
    x, x_hat = _tensor(picture.rgb, device), _tensor(decoded.rgb, device)
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


class AnchorPoints:
    """Measured points of the anchors, kept in a JSON file: the slow encoders run once per image and setting.

    A point is filed under the pixels' hash, the anchor with its library's version, and the quality: its size, PSNR and MS-SSIM, and the
    perceptual metrics where they were taken. Of qualities that a search only looked at there is the size.

    Change `METHOD` when the metrics do.

    Args:
        path: the file, created by `save`; None keeps nothing.
        perceptual: whether the perceptual metrics are taken, at the anchors' `judged` qualities.
    """

    METHOD = "psnr-rgb, ms-ssim-rgb 1"

    def __init__(self, path: Path | None, *, perceptual: bool = True) -> None:
        self._path = path
        self._perceptual = perceptual
        self._rows: dict[str, dict[str, list[float]]] = {}
        if path is not None and path.exists():
            document = json.loads(path.read_text())
            if document["method"] == self.METHOD:
                self._rows = document["points"]

    def point(self, anchor: Anchor, picture: Picture, quality: int) -> Point:
        """The point, measured unless it is known. Several threads may ask, each for another anchor."""
        row, perceptual = self._row(anchor, picture), self._perceptual and quality in anchor.judged
        known = row.get(str(quality), [])
        if len(known) < (5 if perceptual else 3):
            data = anchor.encode(picture, quality)
            point = measure(picture, anchor.decode(data), setting=quality, size=len(data), perceptual=perceptual)
            judged = [] if point.ssimulacra2 is None or point.vmaf is None else [round(point.ssimulacra2, 3), round(point.vmaf, 3)]
            row[str(quality)] = [point.size, round(point.psnr, 4), round(point.ms_ssim, 6), *judged]
            return point
        size, *scores = known
        return Point(quality, int(size), 8 * size / picture.pixels, *scores)

    def size(self, anchor: Anchor, picture: Picture, quality: int) -> int:
        """Bytes of the file, for less than the point costs."""
        row = self._row(anchor, picture)
        if str(quality) not in row:
            row[str(quality)] = [len(anchor.encode(picture, quality))]
        return int(row[str(quality)][0])

    def _row(self, anchor: Anchor, picture: Picture) -> dict[str, list[float]]:
        return self._rows.setdefault(f"{fingerprint(picture)} {anchor.name} {anchor.version}", {})

    def sweep(self, anchor: Anchor, picture: Picture) -> tuple[Point, ...]:
        """The anchor's whole curve for one image."""
        return tuple(self.point(anchor, picture, quality) for quality in anchor.qualities)

    def largest_within(self, anchor: Anchor, picture: Picture, size: float) -> Point | None:
        """The stream of the highest quality that has at most `size` bytes; None where even the lowest has more."""
        quality = largest_within(partial(self.size, anchor, picture), anchor.qualities, size)
        return None if quality is None else self.point(anchor, picture, quality)

    def save(self) -> None:
        """Write the file anew; a reader never sees half of it."""
        if self._path is None:
            return
        rows = ",\n".join(f"  {json.dumps(key)}: {json.dumps(row)}" for key, row in sorted(self._rows.items()))
        draft = self._path.with_suffix(".draft")
        draft.write_text(f'{{"method": {json.dumps(self.METHOD)}, "points": {{\n{rows}\n}}}}\n')
        draft.replace(self._path)


def largest_within(size_at: Callable[[int], int], known: Sequence[int], size: float) -> int | None:
    """The highest integer quality in 0..100 whose stream has at most `size` bytes, by bisection between the qualities already `known`.

    None where even the lowest known has more.
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


def fingerprint(picture: Picture) -> str:
    """16 hex digits that name the pixels."""
    return hashlib.sha256(str(picture.rgb.shape).encode() + picture.rgb.tobytes()).hexdigest()[:16]


def _tensor(rgb: NDArray[np.uint8], device: str) -> Tensor:
    return torch.from_numpy(rgb).to(device).permute(2, 0, 1)[None].float() / 255
