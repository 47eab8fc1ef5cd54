from __future__ import annotations

import pytest

from service.images import UnsupportedImageError, magic, read_header


def ftyp(*brands: bytes) -> bytes:
    return (
        (16 + 4 * (len(brands) - 1)).to_bytes(4, "big")
        + b"ftyp"
        + brands[0]
        + bytes(4)
        + b"".join(brands[1:])
    )


@pytest.mark.parametrize(
    ("file", "name"),
    [
        (ftyp(b"heic", b"mif1", b"heic"), "HEIC"),
        (ftyp(b"mif1", b"heic"), "HEIC"),
        (ftyp(b"heix"), "HEIC"),
        (ftyp(b"mif1", b"miaf"), "HEIF"),
        (ftyp(b"crx ", b"isom"), "CR3"),
        (ftyp(b"isom", b"mp42"), "a film"),
        (b"\xff\x0a\xfa\x7f", "JPEG XL"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
        (b"\xff\x4f\xff\x51\0\x29", "JPEG 2000"),
        (b"\xff\xd8\xff\xf7\0\x0b", "JPEG-LS"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
        (b"<?xml version='1.0'?>\n<!-- drawn by hand -->\n<svg width='1'/>", "SVG"),
        (b"<!-- drawn by hand -->\n<svg width='1'/>", "SVG"),
        (b"<!DOCTYPE svg>\n<svg/>", "SVG"),
        (b"<?xml version='1.0'?><svg:svg xmlns:svg='http://www.w3.org/2000/svg'/>", "SVG"),
        ("\ufeff<?xml version='1.0' encoding='utf-16'?><svg/>".encode("utf-16-le"), "SVG"),
        (ftyp(b"jpx "), "JPEG 2000"),
        (b"%PDF-1.7\n", "PDF"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "PostScript"),
        (b"8BPS\0\1", "PSD"),
        (b"II*\0\x10\0\0\0CR\2\0", "CR2"),
        (b"FUJIFILMCCD-RAW", "RAF"),
        (b"\x1f\x8b\x08", "gzip"),
        (b"\0\0\1\0\1\0", "ICO"),
    ],
)
def test_formats_that_are_not_read_are_named(file: bytes, name: str) -> None:
    with pytest.raises(UnsupportedImageError, match=name):
        read_header(file + bytes(100), max_pixels=100)


@pytest.mark.parametrize(
    "file", [b"", b"h", b"hello", b"ZGT\1", bytes(100), b"P8\n", b"GIF88a", b"<html>", b"\0\0\2" + bytes(15)]
)
def test_what_is_nothing_is_no_image(file: bytes) -> None:
    assert magic.known(file) == (None, None)


@pytest.mark.parametrize(
    "brands", [(b"avif",), (b"mif1", b"avif"), (b"mif1", b"heic", b"avif"), (b"avis", b"msf1")]
)
def test_avif_is_told_from_its_relatives(brands: tuple[bytes, ...]) -> None:
    assert magic.known(ftyp(*brands)) == ("AVIF", None)
