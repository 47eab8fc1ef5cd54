"""Image files in and out: hostile bytes to a `Picture`, a `Picture` to PNG, WebP, AVIF or JPEG.

Reading happens in two steps, so that admission can be decided between them: `open_image` looks at the header alone and refuses what is not
to be decoded at all; `decode` decodes, turns the picture upright and converts it to sRGB.

    ImageError
    ├── UnsupportedImageError    not a format on the list
    ├── ImageTooLargeError       the header claims more pixels than allowed
    ├── AnimatedImageError       more than one frame
    └── DamagedImageError        truncated or corrupt
"""

from __future__ import annotations

import io
from contextlib import suppress
from enum import Enum

from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from models import Picture
from models.errors import SourceError
from models.grid import MAX_SIDE
from models.postprocess import sources
from models.postprocess.sources import Source

# Pillow's decoders for these are in daily use by everybody; the exotic ones are where its vulnerabilities live.
FORMATS = ("JPEG", "PNG", "WEBP", "AVIF", "TIFF", "BMP", "GIF", "PPM")

# Pillow walks chunks, markers and pages in Python, a few bytes at a time; a body of nothing else would keep it for a minute. The largest
# honest file (a GIF of 64 MiB: two reads for each 255 bytes) stays below READS, about a second; to count pages, quadratic in TIFF, it
# gets less.
READS = 600_000
READS_TO_COUNT = 20_000


_PLAIN = ("L", "LA", "RGB", "RGBA")


class ImageError(Exception):
    """Base of what is wrong with an image sent to us. Its text is fit for users."""


class UnsupportedImageError(ImageError):
    """The bytes do not begin like an image of a format on the list."""


class ImageTooLargeError(ImageError):
    """The header claims too many pixels, or too long a side."""


class AnimatedImageError(ImageError):
    """The file holds several frames or pages; `frames` is None when there are too many to count."""

    def __init__(self, frames: int | None) -> None:
        super().__init__(f"the image has {frames or 'too many'} frames; only still images can be compressed")
        self.frames = frames


class DamagedImageError(ImageError):
    """The file is truncated or corrupt."""


class ImageFormat(Enum):
    """What a picture can be written as; the value is the media type, and the order is the preference among equals."""

    PNG = "image/png"
    WEBP = "image/webp"
    AVIF = "image/avif"
    JPEG = "image/jpeg"


def open_image(file: bytes, *, max_pixels: int) -> Image.Image:
    """A Pillow image of which only the header was read. Raises `ImageError`s."""
    # GIF's plugin allocates a frame as it reads the header, and refuses what is over twice this; one service has one limit.
    Image.MAX_IMAGE_PIXELS = min(max_pixels, MAX_SIDE * MAX_SIDE)
    reader = _Reader(file)
    try:
        image = Image.open(reader, formats=FORMATS)
        animated = getattr(image, "is_animated", False)
    except UnidentifiedImageError as error:
        if begins_like := [name for name in FORMATS if (accept := Image.OPEN[name][1]) and accept(file[:16])]:
            raise DamagedImageError(f"the {begins_like[0]} image is truncated or corrupt in its header") from error
        raise UnsupportedImageError(f"not an image in a format we read: {', '.join(FORMATS)}") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageTooLargeError(f"the image claims more than the limit of {max_pixels} pixels") from error
    except MemoryError:
        raise
    except Exception as error:  # a decoder may raise anything on hostile bytes: OSError, SyntaxError, struct.error, ...
        raise DamagedImageError(f"the image's header cannot be read: {error}") from error
    if image.width * image.height > max_pixels:
        raise ImageTooLargeError(f"the image has {image.width}x{image.height} pixels; the limit is {max_pixels} pixels")
    if max(image.size) > MAX_SIDE:
        raise ImageTooLargeError(f"the image has {image.width}x{image.height} pixels; the limit is {MAX_SIDE} on a side")
    if animated and image.format != "MPO":  # a phone's photograph with a depth map or a second exposure behind it
        raise AnimatedImageError(_frames(image, reader))
    return image


def open_lossy(file: bytes, *, max_pixels: int) -> tuple[Image.Image, Source]:
    """Like `open_image`, and what the file says of its quantiser. Raises `SourceError` too."""
    image = open_image(file, max_pixels=max_pixels)
    source = sources.read(file)
    if image.mode not in _PLAIN:
        raise SourceError(f"the file's pixels are {image.mode}, and post-processing is for colours on screens and for grey")
    return image, source


class _Reader(io.BytesIO):
    """A file in memory that may be read from so many times."""

    reads_left = READS

    def read(self, size: int | None = -1, /) -> bytes:
        self.reads_left -= 1
        if self.reads_left < 0:
            raise ValueError("it has too many parts")
        return super().read(size)


def _frames(image: Image.Image, reader: _Reader) -> int | None:
    reader.reads_left = READS_TO_COUNT
    try:
        return getattr(image, "n_frames", None)
    except MemoryError:
        raise
    except Exception:  # out of reads, or the frames behind the second are broken
        return None


def decode(image: Image.Image) -> Picture:
    """Decode what `open_image` opened, and close it: upright, in sRGB, 8 bits. Raises `DamagedImageError`."""
    _load(image)
    _turn_upright(image)
    picture = Picture.from_image(_to_srgb(image))
    image.close()  # who keeps it for its size need not keep its pixels
    return picture


def decode_as_coded(image: Image.Image) -> Picture:
    """The samples of what `open_image` opened as its codec gives them: as they lie in the file, in its own colours; 8 bits.

    The image stays open, for `finished`. Raises `DamagedImageError`.
    """
    _load(image)
    return Picture.from_image(image)


def finished(picture: Picture, coded: Image.Image) -> Picture:
    """What was made of `decode_as_coded(coded)`, upright and in sRGB as `coded` says. Closes `coded`."""
    image = picture.to_image()
    image.info |= {name: coded.info[name] for name in ("exif", "icc_profile") if name in coded.info}
    coded.close()
    _turn_upright(image)
    return Picture.from_image(_to_srgb(image))


def encode(picture: Picture, image_format: ImageFormat) -> bytes:
    """An image file. PNG is exact; the others are near-transparent; JPEG, which knows no alpha, gets a white background."""
    image, file = picture.to_image(), io.BytesIO()
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
                image = Image.alpha_composite(white, image.convert("RGBA")).convert("L" if picture.greyscale else "RGB")
            image.save(file, "JPEG", quality=92, subsampling=0)
    return file.getvalue()


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
    """Apply the embedded colour profile; a broken one, or one of another colour space than the pixels, counts as absent."""
    embedded = image.info.get("icc_profile")
    if not embedded:
        return image
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(embedded))
        if image.mode == "CMYK":
            return _convert(image, profile, "RGB")
        plain = image if image.mode in _PLAIN and "transparency" not in image.info else Picture.from_image(image).to_image()
        alpha = plain.getchannel("A") if plain.mode.endswith("A") else None
        grey = plain.mode.startswith("L")
        # A grey picture may carry an RGB profile; what a profile expects is what it gets, and grey stays grey.
        space = "L" if profile.profile.xcolor_space.strip() == "GRAY" else "RGB"
        converted = _convert(plain if plain.mode == space else plain.convert(space), profile, "RGB")
        converted = converted.convert("L") if grey else converted
        if alpha is not None:
            converted.putalpha(alpha)
        return converted
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return image


def _convert(image: Image.Image, profile: ImageCms.ImageCmsProfile, mode: str) -> Image.Image:
    converted = ImageCms.profileToProfile(image, profile, _SRGB, ImageCms.Intent.RELATIVE_COLORIMETRIC, mode)
    assert converted is not None  # None is for in-place conversion only
    return converted


_SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
