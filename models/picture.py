"""Picture: the pixels that a codec works on, apart from files, modes and metadata.

Orientation and colour profiles are dealt with before (`service.images`). A picture is reduced to
8-bit sRGB planes, an optional alpha plane, and the knowledge that it is greyscale, so that a
decoded one cannot come out tinted.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.errors import PictureError
from models.grid import MAX_SIDE

_ROWS_AT_A_TIME = 256  # that are converted from Pillow


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Picture:
    """8-bit sRGB pixels.

    Attributes:
        rgb: (H, W, 3) of uint8.
        alpha: (H, W) of uint8, or None when fully opaque.
        greyscale: the three planes of `rgb` are equal.

    Raises:
        PictureError: no arrays, another dtype or shape, or a side outside 1..16384.
    """

    rgb: NDArray[np.uint8]
    alpha: NDArray[np.uint8] | None
    greyscale: bool

    def __post_init__(self) -> None:
        _check_array(self.rgb)
        if self.rgb.dtype != np.uint8 or self.rgb.ndim != 3 or self.rgb.shape[2] != 3:
            raise PictureError(f"a picture is (H, W, 3) of uint8, not {self.rgb.shape} of {self.rgb.dtype}")
        _check_sides(self.width, self.height)
        if self.alpha is not None:
            _check_array(self.alpha)
        if self.alpha is not None and (
            self.alpha.dtype != np.uint8 or self.alpha.shape != self.rgb.shape[:2]
        ):
            expected = f"{self.rgb.shape[:2]} of uint8"
            raise PictureError(f"alpha is {expected}, not {self.alpha.shape} of {self.alpha.dtype}")

    def __repr__(self) -> str:
        """Without the pixels."""
        kind = ("grey" if self.greyscale else "colour") + (" with alpha" if self.alpha is not None else "")
        return f"<Picture {self.width}x{self.height}, {kind}>"

    @property
    def width(self) -> int:
        """Number of columns."""
        return int(self.rgb.shape[1])

    @property
    def height(self) -> int:
        """Number of rows."""
        return int(self.rgb.shape[0])

    @property
    def pixels(self) -> int:
        """Width times height, the denominator of bits per pixel."""
        return self.width * self.height

    @classmethod
    def from_array(cls, rgb: NDArray[np.uint8]) -> Picture:
        """An opaque picture from (H, W, 3) of uint8; greyscale when its planes are equal.

        Copies an array only when it is strided or read-only. Raises `PictureError`.
        """
        _check_array(rgb)
        if rgb.dtype != np.uint8 or rgb.ndim != 3:
            raise PictureError(f"a picture is (H, W, 3) of uint8, not {rgb.shape} of {rgb.dtype}")
        rgb = np.require(rgb, requirements=["C", "W"])
        return cls(rgb=rgb, alpha=None, greyscale=_planes_equal(rgb))

    @classmethod
    def from_image(cls, image: Image.Image) -> Picture:
        """A picture from a Pillow image of any mode; 16-bit samples are rounded to 8 bits.

        Ignores orientation and colour profile. Raises `PictureError`.
        """
        if not isinstance(image, Image.Image):
            raise PictureError(_not_an_image(image))
        _check_sides(*image.size)
        if image.mode.startswith("I"):
            image = _to_8_bit(image)
        grey = image.mode in {"1", "L", "LA", "La"}
        target = ("L" if grey else "RGB") + ("A" if image.has_transparency_data else "")
        samples = _samples(image, target)
        alpha = np.ascontiguousarray(samples[..., -1]) if target.endswith("A") else None
        if alpha is not None and alpha.min() == 255:
            alpha = None
        if grey:
            luma = samples if samples.ndim == 2 else samples[..., 0]
            return cls(rgb=np.repeat(luma[..., None], 3, axis=2), alpha=alpha, greyscale=True)
        rgb = np.ascontiguousarray(samples[..., :3])
        return cls(rgb=rgb, alpha=alpha, greyscale=_planes_equal(rgb))

    def to_image(self) -> Image.Image:
        """A Pillow image of mode L or RGB; LA or RGBA when there is alpha."""
        image = Image.fromarray(self.rgb[..., 0] if self.greyscale else self.rgb)
        if self.alpha is not None:
            image.putalpha(Image.fromarray(self.alpha))
        return image


def _samples(image: Image.Image, mode: str) -> NDArray[np.uint8]:
    """The image in `mode`: (H, W) of uint8, or (H, W, bands).

    It is converted some rows at a time: all at once, Pillow holds three copies for a moment.
    """
    shape = (image.height, image.width) if len(mode) == 1 else (image.height, image.width, len(mode))
    samples = np.empty(shape, np.uint8)
    for top in range(0, image.height, _ROWS_AT_A_TIME):
        bottom = min(top + _ROWS_AT_A_TIME, image.height)
        part = image.crop((0, top, image.width, bottom))
        samples[top:bottom] = np.asarray(part if part.mode == mode else part.convert(mode))
    return samples


def _check_array(samples: object) -> None:
    if not isinstance(samples, np.ndarray):
        raise PictureError(_not_an_image(samples))


def _not_an_image(given: object) -> str:
    """Say what was given where an image belongs, and how it becomes one."""
    kind = type(given).__name__
    if isinstance(given, str | os.PathLike):
        remedy = "; open a file first: PIL.Image.open(path)"
    elif isinstance(given, bytes | bytearray | memoryview):
        remedy = "; open a file's bytes first: PIL.Image.open(io.BytesIO(data))"
    elif hasattr(given, "__array__") or isinstance(given, list | tuple):
        remedy = "; numpy.asarray(...) makes an array"
    else:
        remedy = ""
    return f"a picture is a Pillow image or an array (H, W, 3) of uint8, not {kind}{remedy}"


def _check_sides(width: int, height: int) -> None:
    if not (1 <= width <= MAX_SIDE and 1 <= height <= MAX_SIDE):
        raise PictureError(f"a picture of {width}x{height} pixels is outside 1..{MAX_SIDE} on a side")


def _planes_equal(rgb: NDArray[np.uint8]) -> bool:
    # A few hundred samples tell of nearly every colour picture; only a grey one is read whole.
    return all(bool(np.all(part == part[..., :1])) for part in (rgb[::64, ::64], rgb))


def _to_8_bit(image: Image.Image) -> Image.Image:
    """An image of mode I or I;16 (grey, 0..65535) as L; as LA when a value is transparent."""
    samples = np.clip(np.asarray(image), 0, 0xFFFF).astype(np.uint32)
    reduced = Image.fromarray(((samples + 128) // 257).astype(np.uint8))
    transparent = image.info.get("transparency")
    if transparent is not None:
        reduced.putalpha(Image.fromarray(np.where(samples == transparent, 0, 255).astype(np.uint8)))
    return reduced
