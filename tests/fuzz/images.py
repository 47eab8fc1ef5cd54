"""Fuzz target: an image file to a `Picture`, as an upload is read.

Only `ImageError`s and `PictureError` may come out, nothing over the pixel limit is decoded, and a
picture is of the size that its header said. Metadata that is kept is sound: it comes back from a
stream as it is, and goes into files. The checksums of a PNG are put right, as otherwise nothing
would get behind them.
"""

from __future__ import annotations

import io
import random
import warnings
import zlib
from functools import cache

import numpy as np
from PIL import Image, ImageCms

from models.errors import PictureError
from models.metadata import Metadata, trusted, unpack
from service import images
from tests.fuzz.container import png_with_checksums
from tests.models.metadata import samples as metadata
from tests.service.images.files import avif_with, clap, nclx, png_chunk, png_of, tiff_of
from tests.service.images.files import saved as _saved

MAX_PIXELS = 1 << 16

warnings.simplefilter("ignore")  # Pillow warns of what it puts up with, once a line


def seeds() -> dict[str, bytes]:
    """Every format on the list in every mode and variant that Pillow writes, 13x9 pixels each."""
    rng = np.random.default_rng(0)
    samples = rng.integers(0, 256, (9, 13, 4), np.uint8)
    rgba = Image.fromarray(samples)
    rgb, grey, grey16 = (
        rgba.convert("RGB"),
        rgba.convert("L"),
        Image.fromarray(samples[..., 0].astype(np.uint16) * 257),
    )
    palette = rgb.quantize(16)
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = Image.Exif()
    exif[0x0112] = 6  # turn right
    variants: dict[str, tuple[Image.Image, str, dict[str, object]]] = {
        "jpeg": (rgb, "JPEG", {}),
        "jpeg-metadata": (rgb, "JPEG", {"exif": b"Exif\0\0" + metadata.exif(), "xmp": metadata.XMP}),
        "webp-metadata": (rgb, "WEBP", {"exif": metadata.exif(endian=">"), "xmp": metadata.XMP}),
        "avif-metadata": (rgb, "AVIF", {"exif": metadata.exif(orientation=1), "xmp": metadata.XMP}),
        "jpeg-coarse": (rgb, "JPEG", {"quality": 20}),
        "jpeg-progressive": (rgb, "JPEG", {"progressive": True, "exif": exif}),
        "jpeg-cmyk": (rgb.convert("CMYK"), "JPEG", {}),
        "jpeg-icc": (rgb, "JPEG", {"icc_profile": srgb}),
        "jpeg-grey": (grey, "JPEG", {"restart_marker_blocks": 1}),
        "jpeg-mpo": (rgb, "MPO", {"save_all": True, "append_images": [rgb]}),
        "png": (rgb, "PNG", {"exif": exif}),
        "png-alpha": (rgba, "PNG", {"icc_profile": srgb}),
        "png-16": (grey16, "PNG", {}),
        "png-1": (grey.convert("1"), "PNG", {}),
        "png-palette": (palette, "PNG", {"transparency": 3}),
        "png-grey-alpha": (rgba.convert("LA"), "PNG", {}),
        "png-animated": (rgb, "PNG", {"save_all": True, "append_images": [rgb.rotate(90)]}),
        "webp": (rgb, "WEBP", {"exif": exif}),
        "webp-coarse": (rgba, "WEBP", {"quality": 10}),
        "webp-lossless": (rgba, "WEBP", {"lossless": True}),
        "webp-animated": (rgb, "WEBP", {"save_all": True, "append_images": [rgb.rotate(90)]}),
        "avif": (rgb, "AVIF", {"exif": exif}),
        "avif-alpha": (rgba, "AVIF", {"subsampling": "4:4:4"}),
        "avif-animated": (rgb, "AVIF", {"save_all": True, "append_images": [rgb.rotate(90)]}),
        "tiff": (rgb, "TIFF", {"icc_profile": srgb}),
        "tiff-cmyk": (rgb.convert("CMYK"), "TIFF", {"compression": "tiff_lzw"}),
        "tiff-16": (grey16, "TIFF", {"compression": "tiff_deflate"}),
        "tiff-float": (grey.convert("F"), "TIFF", {}),
        "tiff-jpeg": (rgb, "TIFF", {"compression": "jpeg"}),
        "tiff-g4": (grey.convert("1"), "TIFF", {"compression": "group4"}),
        "tiff-packbits": (palette, "TIFF", {"compression": "packbits"}),
        "tiff-lab": (ImageCms.applyTransform(rgb, _TO_LAB) or rgb, "TIFF", {}),
        "tiff-pages": (rgb, "TIFF", {"save_all": True, "append_images": [grey]}),
        "gif": (palette, "GIF", {"transparency": 3}),
        "gif-interlaced": (grey, "GIF", {"interlace": 1}),
        "gif-animated": (palette, "GIF", {"save_all": True, "append_images": [grey], "duration": 50}),
        "bmp": (rgb, "BMP", {}),
        "bmp-palette": (palette, "BMP", {}),
        "bmp-alpha": (rgba, "BMP", {}),
        "ppm": (rgb, "PPM", {}),
        "pgm-16": (grey16, "PPM", {}),
        "pbm": (grey.convert("1"), "PPM", {}),
        "pfm": (grey.convert("F"), "PPM", {}),
    }
    files = {
        "ppm-plain": b"P3\n# a comment\n2 2\n255\n1 2 3 4 5 6 7 8 9 10 11 12\n",
        "pbm-plain": b"P1 3 2 1 0 1 0 1 0",
        "pam": b"P7\nWIDTH 2\nHEIGHT 1\nDEPTH 2\nMAXVAL 9\nTUPLTYPE GRAYSCALE_ALPHA\nENDHDR\n\1\2\3\4",
        "png-16-rgb": png_of([bytes(range(12))] * 3, 2, 16, 2, png_chunk(b"tRNS", bytes(6))),
        "png-grey-key": png_of([b"\x1b"] * 3, 4, 2, 0, png_chunk(b"tRNS", b"\0\2")),
        "png-gamma": png_of([bytes(6)] * 3, 2, 8, 2, png_chunk(b"gAMA", b"\0\1\x86\xa0")),
        "tiff-planar-12": tiff_of(
            {256: 2, 257: 2, 258: [12] * 3, 262: 2, 277: 3, 278: 2, 284: 2}, [bytes(6)] * 3, order=">"
        ),
        "tiff-tiles-predictor": tiff_of(
            {256: 20, 257: 2, 258: [16, 16], 259: 8, 262: 0, 277: 2, 317: 2, 322: 16, 323: 16, 338: 1},
            [zlib.compress(bytes(1024))] * 2,
        ),
        "tiff-big-float": tiff_of({256: 2, 257: 1, 258: 32, 262: 1, 277: 1, 339: 3}, [bytes(8)], big=True),
        "png-text": png_of(
            [bytes(6)] * 3, 2, 8, 2, png_chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + metadata.XMP)
        ),
        "png-raw-exif": png_of(
            [bytes(6)] * 3,
            2,
            8,
            2,
            png_chunk(b"tEXt", b"Raw profile type exif\0\nexif\n 9\n" + metadata.exif().hex().encode()),
        ),
        "avif-clap": avif_with(_saved(rgb, "AVIF"), [clap(5, 3, 0, 0), nclx(12, 13)]),
    }
    for name, (image, file_format, options) in variants.items():
        file = io.BytesIO()
        image.copy().save(
            file, file_format, **options
        )  # Pillow leaves its encoder's settings on what it saved
        files[name] = file.getvalue()
    return files


def check(data: bytes) -> str:
    """Open, decode."""
    try:
        header = images.read_header(data, max_pixels=MAX_PIXELS)
    except images.ImageError as error:
        return f"not opened: {type(error).__name__}"
    assert header.pixels <= MAX_PIXELS
    try:
        decoded = images.decode(data, max_pixels=MAX_PIXELS, keep="keep-with-gps")
    except (images.ImageError, PictureError) as error:
        return f"not decoded: {header.format} {type(error).__name__}"
    picture, kept = decoded.picture, decoded.kept
    assert trusted(kept.metadata, picture.width, picture.height) == kept.metadata
    assert kept.metadata == (Metadata() if kept.section is None else unpack(kept.section))
    if kept.metadata:
        images.encode(picture, images.ImageFormat.WEBP, kept.metadata)
        images.encode(picture, images.ImageFormat.JPEG, kept.metadata)
    assert sorted((picture.width, picture.height)) == sorted((header.width, header.height))
    return f"decoded: {header.format}"


def mutate(data: bytes, max_size: int, seed: int) -> bytes:
    """Bytes anywhere, or a few bytes of a whole file: coverage shrinks inputs to headers, and
    decoders in C, which it does not see, starve.

    A PNG mostly gets right checksums again.
    """
    import atheris

    rng = random.Random(seed)
    if rng.random() < 0.6:
        file = bytearray(rng.choice(_files()))
        for _ in range(rng.choice((1, 1, 2, 4, 16))):
            file[rng.randrange(len(file))] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
        mutated = bytes(file)
    else:
        mutated = atheris.Mutate(data, max_size)
    return png_with_checksums(mutated) if mutated.startswith(b"\x89PNG") and rng.random() < 0.9 else mutated


@cache
def _files() -> list[bytes]:
    return list(seeds().values())


_TO_LAB = ImageCms.buildTransform(ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB")
