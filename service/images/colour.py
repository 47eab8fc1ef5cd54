"""Colour: what samples mean, by a profile or by numbers, and their conversion to 8-bit sRGB.

The numbers are those of ITU-T H.273, which PNG's cICP and AVIF's nclx share, or PNG's gAMA and
cHRM.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from .errors import UnsupportedVariantError

Primaries = tuple[float, ...]
"""x and y of white, red, green and blue."""

_D65 = (0.3127, 0.3290)
_C = (0.310, 0.316)
_BT709: Primaries = (*_D65, 0.64, 0.33, 0.30, 0.60, 0.15, 0.06)
_SMPTE_C: Primaries = (*_D65, 0.630, 0.340, 0.310, 0.595, 0.155, 0.070)

# H.273, table 2
_PRIMARIES: dict[int, Primaries] = {
    1: _BT709,
    4: (*_C, 0.67, 0.33, 0.21, 0.71, 0.14, 0.08),
    5: (*_D65, 0.64, 0.33, 0.29, 0.60, 0.15, 0.06),
    6: _SMPTE_C,
    7: _SMPTE_C,
    8: (*_C, 0.681, 0.319, 0.243, 0.692, 0.145, 0.049),
    9: (*_D65, 0.708, 0.292, 0.170, 0.797, 0.131, 0.046),
    10: (1 / 3, 1 / 3, 1.0, 0.0, 0.0, 1.0, 0.0, 0.0),
    11: (0.314, 0.351, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060),
    12: (*_D65, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060),
    22: (*_D65, 0.630, 0.340, 0.295, 0.605, 0.155, 0.077),
}
# H.273, table 3. BT.709's curve (and its likes: 6, 7, 11, 12, 14, 15) is a camera's; what it is to
# look like on a screen is what sRGB looks like.
_GAMMAS: dict[int, float | None] = {
    **dict.fromkeys((1, 6, 7, 11, 12, 13, 14, 15)),
    4: 2.2,
    5: 2.8,
    8: 1.0,
}
_NOT_READ = {
    9: "a logarithmic transfer function",
    10: "a logarithmic transfer function",
    16: "HDR (PQ transfer function)",
    17: "a cinema's transfer function (SMPTE ST 428-1)",
    18: "HDR (HLG transfer function)",
}

_SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
_SPACES = {"L": b"GRAY", "LA": b"GRAY", "RGB": b"RGB ", "RGBA": b"RGB ", "CMYK": b"CMYK"}
_CLASSES = (b"scnr", b"mntr", b"prtr", b"spac")  # of profiles that say what one device's samples mean
_ROWS_AT_A_TIME = 64
_ROUNDED = ((np.arange(65536) + 128) // 257).astype(np.uint8)  # 16 bits to 8


@dataclass(frozen=True, slots=True)
class Colour:
    """Meaning of samples. The defaults are sRGB.

    Attributes:
        profile: an ICC profile, which goes before the rest. A broken one, or one of another colour
            model than the samples, counts as absent.
        primaries: of red, green and blue, and white; None for sRGB's.
        gamma: light is sample ** gamma; None for sRGB's curve.
    """

    profile: bytes | None = None
    primaries: Primaries | None = None
    gamma: float | None = None


SRGB = Colour()


def described(primaries: int, transfer: int, format: str) -> Colour | None:
    """The colour that two numbers of H.273 stand for; None where either says nothing.

    Raises:
        UnsupportedVariantError: the transfer function is none of a common screen's, as in HDR.
    """
    if transfer in _NOT_READ:
        raise UnsupportedVariantError(format, _NOT_READ[transfer])
    known = _PRIMARIES.get(primaries)
    if known is None and transfer not in _GAMMAS:
        return None
    return Colour(None, None if known == _BT709 else known, _GAMMAS.get(transfer))


def to_srgb(pixels: Image.Image | NDArray[np.uint16], colour: Colour) -> Image.Image:
    """Samples as an 8-bit image in sRGB, of mode L, LA, RGB or RGBA."""
    mode = pixels.mode if isinstance(pixels, Image.Image) else ("L", "LA", "RGB", "RGBA")[pixels.shape[2] - 1]
    if colour.profile and _describes(colour.profile, mode):
        image = in_8_bits(pixels)
        try:
            return _by_profile(image, colour.profile)
        except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
            pass  # it is broken, and counts as absent
    if mode != "CMYK" and (colour.gamma is not None or (colour.primaries and mode.startswith("RGB"))):
        return _by_numbers(np.asarray(pixels), mode, colour)
    image = in_8_bits(pixels)
    return image.convert("RGB") if mode == "CMYK" else image


def in_8_bits(pixels: Image.Image | NDArray[np.uint16]) -> Image.Image:
    """Samples as an 8-bit image; those of 16 bits are rounded."""
    if isinstance(pixels, Image.Image):
        return pixels
    samples = np.empty(pixels.shape, np.uint8)
    for top in range(0, len(pixels), _ROWS_AT_A_TIME):
        samples[top : top + _ROWS_AT_A_TIME] = _ROUNDED[pixels[top : top + _ROWS_AT_A_TIME]]
    return image_of(samples)


def image_of(samples: NDArray[np.uint8]) -> Image.Image:
    """An image of mode L, LA, RGB or RGBA from (H, W, 1..4) of uint8."""
    return Image.fromarray(samples[..., 0] if samples.shape[2] == 1 else samples)


def _describes(profile: bytes, mode: str) -> bool:
    """Say whether a profile is for samples of this mode, by its header."""
    return profile[16:20] == _SPACES[mode] and profile[12:16] in _CLASSES


def _by_profile(image: Image.Image, embedded: bytes) -> Image.Image:
    """Convert by a profile. Raises what ImageCms raises on a broken one."""
    profile = ImageCms.ImageCmsProfile(io.BytesIO(embedded))
    if image.mode == "CMYK":
        return _convert(image, profile, "RGB")
    alpha = image.getchannel("A") if image.mode.endswith("A") else None
    grey = image.mode.startswith("L")
    converted = _convert(image.convert("L" if grey else "RGB"), profile, "RGB")
    converted = converted.convert("L") if grey else converted
    if alpha is not None:
        converted.putalpha(alpha)
    return converted


def _convert(image: Image.Image, profile: ImageCms.ImageCmsProfile, mode: str) -> Image.Image:
    intent = ImageCms.Intent.RELATIVE_COLORIMETRIC
    converted = ImageCms.profileToProfile(image, profile, _SRGB, intent, mode)
    assert converted is not None  # None is for in-place conversion only
    return converted


def _by_numbers(samples: NDArray[np.uint8] | NDArray[np.uint16], mode: str, colour: Colour) -> Image.Image:
    """Convert by primaries and gamma."""
    samples = samples.reshape(*samples.shape[:2], -1)
    bands = len(mode.removesuffix("A"))
    top = np.iinfo(samples.dtype).max
    values = np.arange(top + 1) / top
    light = (_light_of_srgb(values) if colour.gamma is None else values**colour.gamma).astype(np.float32)
    matrix = _to_srgb_primaries(colour.primaries) if bands == 3 and colour.primaries else None
    encoded = np.round(255 * _srgb_of_light(np.arange(65536) / 65535)).astype(np.uint8)
    converted = np.empty(samples.shape, np.uint8)
    for first in range(0, len(samples), _ROWS_AT_A_TIME):
        rows = slice(first, first + _ROWS_AT_A_TIME)
        linear = light[samples[rows, :, :bands]]
        if matrix is not None:
            linear = linear @ matrix.T
        levels = np.clip(linear * 65535 + 0.5, 0, 65535).astype(np.uint16)
        converted[rows, :, :bands] = encoded[levels]
        if bands < samples.shape[2]:
            alpha = samples[rows, :, bands]
            converted[rows, :, bands] = alpha if top == 255 else _ROUNDED[alpha]
    return image_of(converted)


def _light_of_srgb(value: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def _srgb_of_light(light: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


def _to_srgb_primaries(primaries: Primaries) -> NDArray[np.float32] | None:
    """The 3x3 matrix from light in these primaries to light in sRGB's; white stays white.

    None for primaries that are no triangle, or not around any white.
    """
    try:
        source, target = _to_xyz(primaries), _to_xyz(_BT709)
        # Bradford's adaptation of one white to the other
        response = (_BRADFORD @ target.sum(1)) / (_BRADFORD @ source.sum(1))
        adapted = np.linalg.inv(_BRADFORD) @ np.diag(response) @ _BRADFORD
        matrix = np.linalg.inv(target) @ adapted @ source
    except (np.linalg.LinAlgError, ZeroDivisionError):
        return None
    return matrix.astype(np.float32) if np.isfinite(matrix).all() and np.abs(matrix).max() < 100 else None


def _to_xyz(primaries: Primaries) -> NDArray[np.float64]:
    """The matrix from light in these primaries to XYZ. Raises LinAlgError, ZeroDivisionError."""
    x, y = np.array(primaries[2::2]), np.array(primaries[3::2])
    directions = np.stack([x, y, 1 - x - y])
    white_x, white_y = primaries[:2]
    white = np.array([white_x / white_y, 1, (1 - white_x - white_y) / white_y])
    return np.asarray(directions * np.linalg.solve(directions, white))
