"""service.images.png_text: what programs put into a PNG's text is found, at a bounded cost."""

from __future__ import annotations

import zlib

import pytest
from PIL import Image

from models.metadata import Metadata
from service.images import decode
from service.images.png_text import _MAX_TEXT_BYTES, metadata_in
from tests.models.metadata import samples
from tests.service.images.files import LIMIT, png_chunk, saved

XMP = b"XML:com.adobe.xmp"
EXIF = samples.exif(orientation=1)


def raw(kind: bytes, profile: bytes) -> bytes:
    """As ImageMagick writes it."""
    digits = profile.hex()
    lines = "\n".join(digits[at : at + 72] for at in range(0, len(digits), 72))
    return b"\n%s\n%8d\n%s\n" % (kind, len(profile), lines.encode())


@pytest.mark.parametrize(
    ("name", "content"),
    [
        (b"iTXt", XMP + b"\0\0\0\0\0" + samples.XMP),
        (b"iTXt", XMP + b"\0\1\0en\0XMP\0" + zlib.compress(samples.XMP)),
        (b"zTXt", b"Raw profile type xmp\0\0" + zlib.compress(raw(b"xmp", samples.XMP))),
        (b"tEXt", b"Raw profile type xmp\0" + raw(b"xmp", samples.XMP)),
    ],
)
def test_xmp_is_found(name: bytes, content: bytes) -> None:
    keyword = content.partition(b"\0")[0]
    assert metadata_in(None, {keyword: (name, content)}) == Metadata(xmp=samples.XMP)


@pytest.mark.parametrize("kind", [b"exif", b"APP1"])
def test_exif_of_old_programs_is_found(kind: bytes) -> None:
    content = b"Raw profile type " + kind + b"\0\0" + zlib.compress(raw(kind, b"Exif\0\0" + EXIF))
    texts = {b"Raw profile type " + kind: (b"zTXt", content)}
    assert metadata_in(None, texts) == Metadata(exif=b"Exif\0\0" + EXIF)
    assert metadata_in(b"a chunk goes before it", texts).exif == b"a chunk goes before it"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        (b"iTXt", XMP),
        (b"iTXt", XMP + b"\0\1\0\0\0no zlib"),
        (b"iTXt", XMP + b"\0\1\0\0\0" + zlib.compress(bytes(_MAX_TEXT_BYTES + 1))),
        (b"zTXt", b"Raw profile type xmp\0\0" + zlib.compress(b"xmp\n9\nno digits")),
        (b"zTXt", b"Raw profile type xmp\0\0" + zlib.compress(b"")),
        (b"tEXt", b"Raw profile type xmp\0" + raw(b"xmp", bytes(_MAX_TEXT_BYTES))),
    ],
)
def test_what_cannot_be_read_is_there_and_empty(name: bytes, content: bytes) -> None:
    assert metadata_in(None, {content.partition(b"\0")[0]: (name, content)}) == Metadata(xmp=b"")


def test_text_before_and_behind_the_samples_is_found_in_a_file() -> None:
    plain = saved(Image.new("RGB", (4, 3)), "PNG")
    text = png_chunk(b"iTXt", XMP + b"\0\0\0\0\0" + samples.XMP)
    other = png_chunk(b"tEXt", b"Comment\0hello")
    for file in (plain[:33] + other + text + plain[33:], plain[:-12] + other + text + plain[-12:]):
        decoded = decode(file, max_pixels=LIMIT, keep="keep")
        assert decoded.kept.metadata.names == ("xmp",)
        assert decode(file, max_pixels=LIMIT).kept.dropped == ("xmp",)
