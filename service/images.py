"""Image files in and out: hostile bytes to a `Picture`, a `Picture` to PNG, WebP, AVIF or JPEG.

Reading takes two steps, so that admission can be decided between them. `read_header` reads the
header alone and refuses what must not be decoded at all. `decode` decodes, turns the picture
upright and converts it to sRGB. Each takes the whole file and gives plain values, so that each can
run in a process of its own.

    ImageError
    ├── UnsupportedImageError    not a format on the list
    ├── ImageTooLargeError       the header claims more pixels than allowed
    ├── AnimatedImageError       more than one frame
    └── DamagedImageError        truncated or corrupt
"""

from __future__ import annotations

import io
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum

from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from models import Picture
from models.errors import SourceError
from models.files import LimitedReader
from models.grid import MAX_SIDE
from models.postprocess import sources
from models.postprocess.sources import Source

# Pillow's decoders for these are in daily use everywhere; vulnerabilities live in the exotic ones.
FORMATS = ("JPEG", "PNG", "WEBP", "AVIF", "TIFF", "BMP", "GIF", "PPM")

# Pillow walks chunks, markers and pages in Python, a few bytes at a time. A body of nothing else
# would keep it busy for a minute; so many reads take about a second. The largest honest file, a GIF
# of 64 MiB with two reads for each 255 bytes, needs fewer.
MAX_READS = 600_000
# Counting pages is quadratic in TIFF.
_MAX_READS_TO_COUNT_FRAMES = 20_000

_PLAIN_MODES = ("L", "LA", "RGB", "RGBA")
_SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))


class ImageError(Exception):
    """Base of the faults of an image file. Its text is fit for users."""


class UnsupportedImageError(ImageError):
    """The bytes do not begin like an image of a format on the list."""


class ImageTooLargeError(ImageError):
    """The header claims too many pixels, or too long a side."""


class AnimatedImageError(ImageError):
    """The file holds several frames or pages; `frames` is None when there are too many to count."""

    def __init__(self, frames: int | None) -> None:
        count = frames or "too many"
        super().__init__(f"the image has {count} frames; only still images can be compressed")
        self.frames = frames


class DamagedImageError(ImageError):
    """The file is truncated or corrupt."""


class ImageFormat(Enum):
    """A format that pictures are written in. The value is its media type.

    The order is the preference among formats that a client likes equally.
    """

    PNG = "image/png"
    WEBP = "image/webp"
    AVIF = "image/avif"
    JPEG = "image/jpeg"


@dataclass(frozen=True, slots=True)
class Header:
    """What a file says of its picture before it is decoded.

    Attributes:
        format: Pillow's name for the file's format.
        width: columns, as they lie in the file.
        height: rows, as they lie in the file.
    """

    format: str
    width: int
    height: int

    @property
    def pixels(self) -> int:
        """Width times height."""
        return self.width * self.height


@dataclass(frozen=True, slots=True)
class Decoded:
    """A picture out of a file.

    Attributes:
        picture: upright, in sRGB and 8 bits.
        warnings: what is wrong with the file although it was read, each fit for users.
    """

    picture: Picture
    warnings: tuple[str, ...] = ()


def read_header(file: bytes, *, max_pixels: int) -> Header:
    """Read an image's header, and refuse what must not be decoded.

    Args:
        file: all bytes of the file.
        max_pixels: the largest width times height.

    Raises:
        ImageError: one subclass for each fault.
    """
    with _open(file, max_pixels) as image:
        return _header(image)


def read_lossy_header(file: bytes, *, max_pixels: int) -> tuple[Header, Source]:
    """Read the header of an image for post-processing, and its quantiser as the file states it.

    Raises:
        ImageError: as `read_header` does.
        SourceError: post-processing is not for such a file.
    """
    with _open(file, max_pixels) as image:
        source = sources.read(file)
        if image.mode not in _PLAIN_MODES:
            raise SourceError(
                f"the file's pixels are {image.mode}, and post-processing is for colours on screens and "
                "for grey"
            )
        return _header(image), source


def decode(file: bytes, *, max_pixels: int) -> Decoded:
    """Decode an image file, upright, in sRGB and 8 bits.

    Raises:
        ImageError: as `read_header` does, or the file is damaged behind its header.
    """
    with _open(file, max_pixels) as image:
        _load(image)
        _turn_upright(image)
        return Decoded(Picture.from_image(_to_srgb(image)))


def decode_as_coded(file: bytes, *, max_pixels: int) -> Picture:
    """Decode an image as it lies in its file: not turned, in its own colours, in 8 bits.

    Raises what `decode` raises.
    """
    with _open(file, max_pixels) as image:
        _load(image)
        return Picture.from_image(image)


def finished(picture: Picture, file: bytes, *, max_pixels: int) -> Picture:
    """Turn a picture made from `decode_as_coded(file)` upright, in sRGB."""
    image = picture.to_image()
    with _open(file, max_pixels) as coded:
        image.info |= {name: coded.info[name] for name in ("exif", "icc_profile") if name in coded.info}
    _turn_upright(image)
    return Picture.from_image(_to_srgb(image))


def encode(picture: Picture, image_format: ImageFormat) -> bytes:
    """Encode a picture as an image file.

    PNG is exact; the others are visually near-lossless. JPEG has no alpha, and gets a white
    background.
    """
    image = picture.to_image()
    file = io.BytesIO()
    match image_format:
        case ImageFormat.PNG:
            image.save(file, "PNG")
        case ImageFormat.WEBP:
            image.save(file, "WEBP", quality=90)
        case ImageFormat.AVIF:
            image.save(file, "AVIF", quality=85, speed=8)
        case ImageFormat.JPEG:
            if picture.alpha is not None:
                white = Image.new("RGBA", image.size, "white")
                flat = Image.alpha_composite(white, image.convert("RGBA"))
                image = flat.convert("L" if picture.greyscale else "RGB")
            image.save(file, "JPEG", quality=92, subsampling=0)
    return file.getvalue()


def _open(file: bytes, max_pixels: int) -> Image.Image:
    """Open an image by its header alone. Raises `ImageError`s."""
    # GIF's plugin allocates a frame while it reads the header, and refuses one over twice this
    # limit. The limit is global, and so is the service's.
    Image.MAX_IMAGE_PIXELS = min(max_pixels, MAX_SIDE * MAX_SIDE)
    reader = LimitedReader(file, MAX_READS)
    try:
        image = Image.open(reader, formats=FORMATS)
        animated = getattr(image, "is_animated", False)
    except UnidentifiedImageError as error:
        if name := _format_by_beginning(file):
            raise DamagedImageError(f"the {name} image is truncated or corrupt in its header") from error
        raise UnsupportedImageError(f"not an image in a format we read: {', '.join(FORMATS)}") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageTooLargeError(f"the image claims more than the limit of {max_pixels} pixels") from error
    except MemoryError:
        raise
    except Exception as error:  # on hostile bytes decoders raise anything: SyntaxError, struct.error, ...
        raise DamagedImageError(f"the image's header cannot be read: {error}") from error
    size = f"{image.width}x{image.height}"
    if image.width * image.height > max_pixels:
        raise ImageTooLargeError(f"the image has {size} pixels; the limit is {max_pixels} pixels")
    if max(image.size) > MAX_SIDE:
        raise ImageTooLargeError(f"the image has {size} pixels; the limit is {MAX_SIDE} on a side")
    # MPO is a phone's photograph with a depth map or a second exposure behind it.
    if animated and image.format != "MPO":
        raise AnimatedImageError(_count_frames(image, reader))
    return image


def _header(image: Image.Image) -> Header:
    return Header(image.format or "", image.width, image.height)


def _format_by_beginning(file: bytes) -> str | None:
    """Name the first format whose files begin as this one does."""
    for name in FORMATS:
        accept = Image.OPEN[name][1]
        if accept and accept(file[:16]):
            return name
    return None


def _count_frames(image: Image.Image, reader: LimitedReader) -> int | None:
    """Count the frames or pages of an image; None when that takes too many reads."""
    reader.reads_left = _MAX_READS_TO_COUNT_FRAMES
    try:
        return getattr(image, "n_frames", None)
    except MemoryError:
        raise
    except Exception:  # out of reads, or the frames behind the second are broken
        return None


def _load(image: Image.Image) -> None:
    try:
        image.load()
    except MemoryError:
        raise
    except Exception as error:
        raise DamagedImageError(f"the {image.format} image is truncated or corrupt: {error}") from error


def _turn_upright(image: Image.Image) -> None:
    # Broken EXIF is no reason to refuse sound pixels, and Pillow may raise anything on it.
    with suppress(Exception):
        ImageOps.exif_transpose(image, in_place=True)


def _to_srgb(image: Image.Image) -> Image.Image:
    """Apply the embedded colour profile.

    A broken profile, or one of another colour space than the pixels, counts as absent.
    """
    embedded = image.info.get("icc_profile")
    if not embedded:
        return image
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(embedded))
        if image.mode == "CMYK":
            return _convert(image, profile, "RGB")
        is_plain = image.mode in _PLAIN_MODES and "transparency" not in image.info
        plain = image if is_plain else Picture.from_image(image).to_image()
        alpha = plain.getchannel("A") if plain.mode.endswith("A") else None
        grey = plain.mode.startswith("L")
        # A grey picture may carry an RGB profile: it is converted to what the profile expects, and
        # back to grey.
        space = "L" if profile.profile.xcolor_space.strip() == "GRAY" else "RGB"
        converted = _convert(plain if plain.mode == space else plain.convert(space), profile, "RGB")
        converted = converted.convert("L") if grey else converted
        if alpha is not None:
            converted.putalpha(alpha)
        return converted
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return image


def _convert(image: Image.Image, profile: ImageCms.ImageCmsProfile, mode: str) -> Image.Image:
    intent = ImageCms.Intent.RELATIVE_COLORIMETRIC
    converted = ImageCms.profileToProfile(image, profile, _SRGB, intent, mode)
    assert converted is not None  # None is for in-place conversion only
    return converted
