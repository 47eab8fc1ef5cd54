"""Netpbm's formats: PBM, PGM, PPM, plain or not, and PAM."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .colour import image_of
from .errors import DamagedImageError, UnsupportedVariantError
from .facts import Coded, Facts, Header, Pixels

MAX_HEADER_BYTES = 1 << 16
MAX_COMMENTS = 1 << 16  # between the samples of a plain file

_PLAIN_BYTES = 16  # for a number in words, with the white space and comments around it

_TOKEN = re.compile(rb"(?:\s|#[^\r\n]*[\r\n])*([^\s#]+)")
_COMMENT = re.compile(rb"#[^\r\n]*")
_SPACE = b" \t\n\v\f\r"
_BITMAPS, _PLAIN = (b"P1", b"P4"), (b"P1", b"P2", b"P3")
_BANDS = {b"P1": 1, b"P2": 1, b"P3": 3, b"P4": 1, b"P5": 1, b"P6": 3}
_TUPLES = {
    b"BLACKANDWHITE": 1,
    b"GRAYSCALE": 1,
    b"RGB": 3,
    b"BLACKANDWHITE_ALPHA": 2,
    b"GRAYSCALE_ALPHA": 2,
    b"RGB_ALPHA": 4,
}
_PAM_FIELDS = (b"WIDTH", b"HEIGHT", b"DEPTH", b"MAXVAL")


@dataclass(frozen=True, slots=True)
class _Layout:
    """How the samples lie: columns, rows, samples a pixel, the greatest value, where they begin."""

    kind: bytes
    width: int
    height: int
    bands: int
    greatest: int
    start: int


def read(file: bytes) -> Facts:
    """The facts of a file of Netpbm's.

    Raises:
        DamagedImageError: its header is broken.
        UnsupportedVariantError: floating-point samples.
    """
    kind = file[:2]
    if kind in (b"PF", b"Pf"):
        raise UnsupportedVariantError("PFM", "floating-point samples")
    try:
        layout = _pam(file) if kind == b"P7" else _pnm(file, kind)
    except (ValueError, KeyError) as error:
        raise DamagedImageError("the PPM image is truncated or corrupt in its header") from error
    if not (layout.width > 0 and layout.height > 0 and 0 < layout.greatest < 65536):
        raise DamagedImageError("the PPM image's header makes no sense")
    return Facts(Header("PPM", layout.width, layout.height), lambda: Coded(_pixels(file, layout)))


def _pnm(file: bytes, kind: bytes) -> _Layout:
    count = 2 if kind in _BITMAPS else 3
    head = file[:MAX_HEADER_BYTES]
    at = 2
    numbers = []
    for _ in range(count):
        found = _TOKEN.match(head, at)
        if found is None or len(found[1]) > 10:
            raise ValueError("a number is missing")
        numbers.append(int(found[1]))
        at = found.end()
    width, height, greatest = (*numbers, 1)[:3]
    return _Layout(kind, width, height, _BANDS[kind], greatest, at + 1)


def _pam(file: bytes) -> _Layout:
    head, found, _ = file[:MAX_HEADER_BYTES].partition(b"ENDHDR\n")
    if not found:
        raise ValueError("the header has no end")
    fields = dict(
        line.split(None, 1) for line in head.split(b"\n")[1:] if line.strip() and not line.startswith(b"#")
    )
    width, height, depth, greatest = (int(fields[name]) for name in _PAM_FIELDS)
    kind = fields.get(b"TUPLTYPE", b"").strip()
    if kind and _TUPLES.get(kind) != depth:
        raise UnsupportedVariantError(
            "PAM", f"tuples of another kind than {', '.join(map(bytes.decode, _TUPLES))}"
        )
    if not 1 <= depth <= 4:
        raise UnsupportedVariantError("PAM", f"{depth} samples a pixel")
    return _Layout(b"P7", width, height, depth, greatest, len(head) + len(found))


def _pixels(file: bytes, layout: _Layout) -> Pixels:
    count = layout.width * layout.height * layout.bands
    if layout.kind == b"P4":
        row_bytes = (layout.width + 7) // 8
        coded = _enough(file, layout.start, row_bytes * layout.height)
        rows = np.frombuffer(coded, np.uint8).reshape(layout.height, row_bytes)
        bits = np.unpackbits(rows, axis=1)[:, : layout.width, None]
        return image_of((1 - bits) * np.uint8(255))
    if layout.kind in _PLAIN:
        values = _plain(file, layout, count)
        if layout.kind == b"P1":
            values = 1 - values
    else:
        size = 1 if layout.greatest < 256 else 2
        coded = _enough(file, layout.start, count * size)
        values = np.frombuffer(coded, np.uint8 if size == 1 else ">u2")
    shaped = values.reshape(layout.height, layout.width, layout.bands)
    return image_of(_scaled(shaped, layout.greatest))


def _enough(file: bytes, start: int, size: int) -> bytes:
    coded = file[start : start + size]
    if len(coded) < size:
        raise DamagedImageError("the PPM image is truncated")
    return coded


def _scaled(values: NDArray[Any], greatest: int) -> NDArray[np.uint8]:
    """Values up to the greatest, rounded to 8 bits; those beyond it are white."""
    if greatest == 255:
        return values.astype(np.uint8)
    scale = ((np.arange(65536) * 255 + greatest // 2) // greatest).clip(max=255).astype(np.uint8)
    return scale[values.astype(np.uint16)]


def _plain(file: bytes, layout: _Layout, count: int) -> NDArray[Any]:
    """Numbers in words; of a bitmap each digit is one."""
    text = file[layout.start - 1 :][: count * _PLAIN_BYTES + MAX_HEADER_BYTES]
    if text.count(b"#") > MAX_COMMENTS:
        raise DamagedImageError("the PPM image has too many parts")
    text = _COMMENT.sub(b" ", text)
    if layout.kind == b"P1":
        digits = np.frombuffer(text.translate(None, _SPACE)[:count], np.uint8) - ord("0")
        if len(digits) < count or digits.max() > 1:
            raise DamagedImageError("the PPM image is truncated or corrupt")
        return digits
    if text.translate(None, _SPACE + b"0123456789"):
        raise DamagedImageError("the PPM image is corrupt: it has other than numbers")
    # No other function reads text as fast. Told of a count, it leaves what the text lacks
    # uninitialised; of spaces alone it makes a 0.
    values = np.fromstring(text.strip(), np.int64, sep=" ")[:count]
    if len(values) < count or values.min() < 0 or values.max() > layout.greatest:
        raise DamagedImageError("the PPM image is truncated or corrupt")
    return values
