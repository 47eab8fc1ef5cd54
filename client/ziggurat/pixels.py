"""A Pillow image as a stream can hold it: upright, 8-bit, in sRGB, of mode L, LA, RGB or RGBA.

A stream has no room for an orientation or a colour profile, so both are applied.
"""

from __future__ import annotations

import io

from PIL import ExifTags, Image, ImageCms, ImageOps

_SPACES = {"L": b"GRAY", "RGB": b"RGB ", "CMYK": b"CMYK", "LAB": b"Lab "}
_CLASSES = (b"scnr", b"mntr", b"prtr", b"spac")  # of profiles that say what one device's samples mean
_16_BITS = ("I", "I;16", "I;16L", "I;16B", "I;16N")


def plain(image: Image.Image) -> Image.Image:
    """Return the image as a stream can hold it. The given one stays as it is.

    Raises:
        ValueError: it is of mode F, whose range nobody knows.
    """
    if image.mode == "F":
        raise ValueError("an image of mode F has no known range of values; convert it first")
    if image.getexif().get(ExifTags.Base.Orientation, 1) != 1:
        image = ImageOps.exif_transpose(image)
    profile = image.info.get("icc_profile")
    image = _eight_bits(image)
    if isinstance(profile, bytes) and profile[16:20] == _SPACES.get(image.mode.removesuffix("A")):
        image = _by_profile(image, profile)
    return image.convert("RGB") if image.mode in ("CMYK", "LAB") else image


def metadata_of(image: Image.Image) -> tuple[bytes | None, bytes | None]:
    """EXIF and XMP of an image, for its `plain` pixels; None for what there is not."""
    exif = image.info.get("exif") or image.getexif()
    xmp = image.info.get("xmp")
    return upright_exif(exif), xmp.encode() if isinstance(xmp, str) else xmp


def upright_exif(exif: bytes | Image.Exif | None) -> bytes | None:
    """EXIF of pixels that were turned upright: without an orientation. None for none at all."""
    if not exif:
        return None
    content = exif.tobytes() if isinstance(exif, Image.Exif) else exif
    parsed = Image.Exif()
    parsed.load(content)
    if parsed.get(ExifTags.Base.Orientation, 1) == 1:
        return content
    del parsed[ExifTags.Base.Orientation]
    return parsed.tobytes()


def _eight_bits(image: Image.Image) -> Image.Image:
    """The image as L, LA, RGB or RGBA; CMYK and LAB stay for their profiles."""
    if image.mode in _16_BITS:
        # (value + 128) // 257; the half keeps the product from falling below a whole number
        return image.convert("I").point(lambda value: value * (1 / 257) + 128.5 / 257).convert("L")
    if image.mode in ("CMYK", "LAB"):
        return image
    mode = "L" if image.mode in ("1", "L", "LA", "La") else "RGB"
    mode += "A" if image.has_transparency_data else ""
    return image if image.mode == mode else image.convert(mode)


def _by_profile(image: Image.Image, embedded: bytes) -> Image.Image:
    """Convert to sRGB; a broken profile counts as absent."""
    if embedded[12:16] not in _CLASSES:
        return image
    alpha = image.getchannel("A") if image.mode in ("LA", "RGBA") else None
    opaque = image if alpha is None else image.convert(image.mode.removesuffix("A"))
    try:
        converted = ImageCms.profileToProfile(
            opaque,
            ImageCms.ImageCmsProfile(io.BytesIO(embedded)),
            ImageCms.createProfile("sRGB"),
            ImageCms.Intent.RELATIVE_COLORIMETRIC,
            "RGB",
        )
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return image
    assert converted is not None  # None is for conversion in place
    if opaque.mode == "L":
        converted = converted.convert("L")
    if alpha is not None:
        converted.putalpha(alpha)
    return converted
