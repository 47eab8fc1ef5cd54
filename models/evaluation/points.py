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
    """

    setting: float
    size: int
    bpp: float
    psnr: float
    ms_ssim: float


def measure(picture: Picture, decoded: Picture, *, setting: float, size: int, device: str = "cpu") -> Point:
    """The point that a stream of `size` bytes which decodes to `decoded` makes."""
    x, x_hat = _tensor(picture.rgb, device), _tensor(decoded.rgb, device)
    with torch.no_grad():
        fidelity = min(float(psnr(x_hat, x)), PIXEL_EXACT_PSNR)
        similarity = float(ms_ssim(x_hat, x))
    return Point(setting, size, 8 * size / picture.pixels, fidelity, similarity)


class AnchorPoints:
    """Measured points of the anchors, kept in a JSON file: the slow encoders run once per image and setting.

    A point is filed under the pixels' hash, the anchor with its library's version, and the quality. Change `METHOD` when the metrics do.

    Args:
        path: the file, created by `save`; None keeps nothing.
    """

    METHOD = "psnr-rgb, ms-ssim-rgb 1"

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._rows: dict[str, dict[str, list[float]]] = {}
        if path is not None and path.exists():
            document = json.loads(path.read_text())
            if document["method"] == self.METHOD:
                self._rows = document["points"]

    def point(self, anchor: Anchor, picture: Picture, quality: int) -> Point:
        """The point, measured unless it is known. Several threads may ask, each for another anchor."""
        row = self._rows.setdefault(f"{fingerprint(picture)} {anchor.name} {anchor.version}", {})
        known = row.get(str(quality))
        if known is None:
            data = anchor.encode(picture, quality)
            point = measure(picture, anchor.decode(data), setting=quality, size=len(data))
            row[str(quality)] = [point.size, round(point.psnr, 4), round(point.ms_ssim, 6)]
            return point
        size, fidelity, similarity = known
        return Point(quality, int(size), 8 * size / picture.pixels, fidelity, similarity)

    def sweep(self, anchor: Anchor, picture: Picture) -> tuple[Point, ...]:
        """The anchor's whole curve for one image."""
        return tuple(self.point(anchor, picture, quality) for quality in anchor.qualities)

    def largest_within(self, anchor: Anchor, picture: Picture, bpp: float) -> Point | None:
        """The stream of the highest quality that stays within `bpp`; None where even the lowest costs more."""
        return largest_within(partial(self.point, anchor, picture), self.sweep(anchor, picture), bpp)

    def save(self) -> None:
        """Write the file anew; a reader never sees half of it."""
        if self._path is None:
            return
        rows = ",\n".join(f"  {json.dumps(key)}: {json.dumps(row)}" for key, row in sorted(self._rows.items()))
        draft = self._path.with_suffix(".draft")
        draft.write_text(f'{{"method": {json.dumps(self.METHOD)}, "points": {{\n{rows}\n}}}}\n')
        draft.replace(self._path)


def largest_within(point_at: Callable[[int], Point], known: Sequence[Point], bpp: float) -> Point | None:
    """The stream of the highest integer quality in 0..100 that stays within `bpp`, by bisection between the points already known.

    None where even the lowest known quality costs more.
    """
    inside = [point for point in known if point.bpp <= bpp]
    if not inside:
        return None
    best = max(inside, key=lambda point: point.setting)
    beyond = min((int(point.setting) for point in known if point.setting > best.setting), default=101)
    while beyond - best.setting > 1:
        middle = point_at((int(best.setting) + beyond) // 2)
        if middle.bpp <= bpp:
            best = middle
        else:
            beyond = int(middle.setting)
    return best


def fingerprint(picture: Picture) -> str:
    """16 hex digits that name the pixels."""
    return hashlib.sha256(str(picture.rgb.shape).encode() + picture.rgb.tobytes()).hexdigest()[:16]


def _tensor(rgb: NDArray[np.uint8], device: str) -> Tensor:
    return torch.from_numpy(rgb).to(device).permute(2, 0, 1)[None].float() / 255
