"""Magic: the format of a file by its first bytes, also of formats that are not read."""

from __future__ import annotations

import re

# Formats in daily use everywhere; vulnerabilities live in the exotic ones.
FORMATS = ("JPEG", "PNG", "WEBP", "AVIF", "TIFF", "BMP", "GIF", "PPM")

_MAX_BRANDS = 4096  # bytes of an ISOBMFF file's first box that are looked at

_READ = (
    ("JPEG", re.compile(rb"\xff\xd8\xff")),
    ("PNG", re.compile(rb"\x89PNG\r\n\x1a\n")),
    ("WEBP", re.compile(rb"RIFF....WEBP", re.DOTALL)),
    ("TIFF", re.compile(rb"II[*+]\0|MM\0[*+]")),
    ("BMP", re.compile(rb"BM")),
    ("GIF", re.compile(rb"GIF8[79]a")),
    ("PPM", re.compile(rb"P[1-6][\s#]|P7\n|P[Ff]\s")),
)
_NOT_READ = (
    ("a camera's raw file (CR2)", re.compile(rb"II\*\0....CR", re.DOTALL)),
    ("a camera's raw file (ORF)", re.compile(rb"IIR[OS]|MMOR")),
    ("a camera's raw file (RW2)", re.compile(rb"IIU\0")),
    ("a camera's raw file (RAF)", re.compile(rb"FUJIFILM")),
    ("JPEG XR", re.compile(rb"II\xbc")),
    ("JPEG XL", re.compile(rb"\xff\x0a|\0\0\0\x0cJXL \r\n\x87\n")),
    ("JPEG 2000", re.compile(rb"\0\0\0\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51")),
    ("JPEG-LS", re.compile(rb"\xff\xd8\xff\xf7")),
    ("PSD", re.compile(rb"8BPS")),
    ("PDF", re.compile(rb"%PDF-")),
    ("PostScript", re.compile(rb"%!PS|\xc5\xd0\xd3\xc6")),
    ("SVG", re.compile(rb"(?:\xef\xbb\xbf)?\s{0,100}<(?:(?:svg:)?svg[\s>/]|!DOCTYPE svg[\s>\[])")),
    ("SVG", re.compile(rb"(?:\xef\xbb\xbf)?\s{0,100}<(?:\?xml|!--).{1,4000}?<(?:svg:)?svg[\s>/]", re.DOTALL)),
    ("SVG", re.compile(rb"\xff\xfe<\0(?:s\0v\0g\0|\?\0x\0m\0l\0.{2,4000}?<\0s\0v\0g\0)", re.DOTALL)),
    ("OpenEXR", re.compile(rb"v/1\x01")),
    ("Radiance HDR", re.compile(rb"#\?RADIANCE|#\?RGBE")),
    ("ICO", re.compile(rb"\0\0[\x01\x02]\0(?!\0\0)..", re.DOTALL)),
    ("QOI", re.compile(rb"qoif")),
    ("DDS", re.compile(rb"DDS ")),
    ("FLIF", re.compile(rb"FLIF")),
    ("BPG", re.compile(rb"BPG\xfb")),
    ("MNG", re.compile(rb"[\x8a\x8b][MJ]NG\r\n\x1a\n")),
    ("XCF", re.compile(rb"gimp xcf")),
    ("FITS", re.compile(rb"SIMPLE  =")),
    ("gzip", re.compile(rb"\x1f\x8b")),
    ("ZIP", re.compile(rb"PK\x03\x04")),
)
_HEIF = {"heic": "HEIC", "heix": "HEIC", "hevc": "HEIC", "hevx": "HEIC", "heim": "HEIC", "heis": "HEIC"}
_OTHER_BRANDS = {
    "crx ": "a camera's raw file (CR3)",
    "jp2 ": "JPEG 2000",
    "jpx ": "JPEG 2000",
    "jxl ": "JPEG XL",
}


def known(file: bytes) -> tuple[str | None, str | None]:
    """The name of the format of ours that a file begins like, or else of another that is known."""
    for name, pattern in _NOT_READ:
        if pattern.match(file):
            return None, name
    if file[4:8] == b"ftyp":
        return _isobmff(file)
    return next(((name, None) for name, pattern in _READ if pattern.match(file)), (None, None))


def _isobmff(file: bytes) -> tuple[str | None, str | None]:
    end = min(max(int.from_bytes(file[:4], "big"), 16), _MAX_BRANDS)
    # The major brand, its version, then the compatible brands.
    brands = [file[at : at + 4].decode("latin-1") for at in (8, *range(16, end, 4))]
    if "avif" in brands or "avis" in brands:
        return "AVIF", None
    for brand in brands:
        if name := _HEIF.get(brand) or _OTHER_BRANDS.get(brand):
            return None, name
    return None, "HEIF" if "mif1" in brands or "msf1" in brands else "an ISO media file, such as a film"
