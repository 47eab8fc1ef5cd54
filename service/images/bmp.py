"""BMP, of Windows and OS/2: its headers, and its samples, which are worked out here."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .colour import Colour, image_of
from .errors import DamagedImageError, UnsupportedVariantError
from .facts import Coded, Facts, Header

_OS2, _INFO, _OS2_2, _V3, _V5 = 12, 40, 64, 56, 124
_HEADERS = (_OS2, 16, _INFO, 52, _V3, _OS2_2, 108, _V5)
_PLAIN, _RLE8, _RLE4, _BITFIELDS, _ALPHA_BITFIELDS = 0, 1, 2, 3, 6
_NOT_READ = {4: "a JPEG within", 5: "a PNG within"}
_NOT_READ_OF_OS2 = {3: "Huffman compression", 4: "24-bit run lengths"}
_DEFAULT_MASKS = {
    16: (0x7C00, 0x03E0, 0x001F, 0),
    24: (0xFF0000, 0xFF00, 0xFF, 0),
    32: (0xFF0000, 0xFF00, 0xFF, 0),
}
_EMBEDDED_PROFILE = b"DEBM"  # "MBED" as a little-endian number
_ROWS_AT_A_TIME = 64


@dataclass(frozen=True, slots=True)
class _Layout:
    """How the samples lie.

    Attributes:
        width, height: in pixels.
        bits: of a pixel.
        top_down: the first row is the top one.
        compression: one of those above.
        masks: bits of red, green, blue and alpha, of 16 bits a pixel and more.
        palette: (colours, 3) of red, green and blue.
        start: of the samples in the file.
    """

    width: int
    height: int
    bits: int
    top_down: bool
    compression: int
    masks: tuple[int, ...]
    palette: NDArray[np.uint8]
    start: int

    @property
    def row_bytes(self) -> int:
        """Bytes of a row, which ends at a multiple of four."""
        return (self.width * self.bits + 31) // 32 * 4


def read(file: bytes) -> Facts:
    """The facts of a BMP file.

    Raises:
        DamagedImageError: its header is broken.
        UnsupportedVariantError: another header, or a compression that is not read.
    """
    try:
        layout = _layout(file)
    except struct.error as error:
        raise DamagedImageError("the BMP image is truncated or corrupt in its header") from error
    return Facts(
        Header("BMP", layout.width, layout.height),
        lambda: Coded(image_of(_samples(file, layout))),
        colour=Colour(_profile(file)),
    )


def _layout(file: bytes) -> _Layout:
    start, header_size = struct.unpack_from("<II", file, 10)
    if header_size not in _HEADERS:
        raise UnsupportedVariantError("BMP", f"a header of {header_size} bytes")
    compression = used = 0
    if header_size == _OS2:
        width, height, _, bits = struct.unpack_from("<HHHH", file, 18)
    else:
        width, height, _, bits = struct.unpack_from("<iiHH", file, 18)
        if header_size >= _INFO:
            compression, _, _, _, used = struct.unpack_from("<IIiiI", file, 30)
    top_down = height < 0
    height = abs(height)
    if not (0 < width < 1 << 31 and height):
        raise DamagedImageError("the BMP image has no size")
    if header_size in (16, _OS2_2) and compression in _NOT_READ_OF_OS2:
        raise UnsupportedVariantError("BMP", _NOT_READ_OF_OS2[compression])
    if compression in _NOT_READ:
        raise UnsupportedVariantError("BMP", _NOT_READ[compression])
    allowed = {
        _PLAIN: (1, 2, 4, 8, 16, 24, 32), _RLE8: (8,), _RLE4: (4,),
        _BITFIELDS: (16, 32), _ALPHA_BITFIELDS: (16, 32),
    }  # fmt: skip
    if bits not in allowed.get(compression, ()):
        raise UnsupportedVariantError("BMP", f"compression {compression} of {bits} bits a pixel")
    behind = 14 + header_size
    masks = _DEFAULT_MASKS.get(bits, ())
    if compression in (_BITFIELDS, _ALPHA_BITFIELDS):
        # They are a part of the longer headers, and lie behind the short one.
        count = 4 if compression == _ALPHA_BITFIELDS or header_size >= _V3 else 3
        masks = (*struct.unpack_from(f"<{count}I", file, 54), 0)[:4]
        behind += 4 * count if header_size == _INFO else 0
        if not all(_contiguous(mask) for mask in masks) or not any(masks[:3]):
            raise UnsupportedVariantError("BMP", "colours whose bits lie apart")
    entry = 3 if header_size == _OS2 else 4
    colours = min(used or 1 << bits, 256) if bits <= 8 else 0
    table = np.frombuffer(file[behind : behind + colours * entry], np.uint8)
    if start:  # the table may be shorter than it is said to be
        table = table[: max(start - behind, 0)]
    palette = table[: len(table) // entry * entry].reshape(-1, entry)[:, 2::-1]
    if bits <= 8 and not len(palette):
        raise DamagedImageError("the BMP image has no palette")
    return _Layout(width, height, bits, top_down, compression, masks, palette, start or behind + len(table))


def _contiguous(mask: int) -> bool:
    lowest = mask & -mask
    return mask == 0 or (mask // lowest + 1) & (mask // lowest) == 0


def _profile(file: bytes) -> bytes | None:
    """The ICC profile within a header of version 5."""
    if file[14:18] != _V5.to_bytes(4, "little") or file[70:74] != _EMBEDDED_PROFILE:
        return None
    start, size = struct.unpack_from("<II", file, 14 + 112)
    return file[14 + start : 14 + start + size] if size else None


def _samples(file: bytes, layout: _Layout) -> NDArray[np.uint8]:
    """(H, W, 3), or (H, W, 4) with alpha."""
    if layout.bits <= 8:
        indices = _run_lengths(file, layout) if layout.compression else _indices(_rows(file, layout), layout)
        palette = np.zeros((256, 3), np.uint8)
        palette[: len(layout.palette)] = layout.palette
        samples = palette[indices]
    else:
        samples = _masked(_rows(file, layout), layout)
    return samples if layout.top_down else samples[::-1]


def _rows(file: bytes, layout: _Layout) -> NDArray[np.uint8]:
    size = layout.row_bytes * layout.height
    coded = file[layout.start : layout.start + size]
    # The last row's padding is at times left out.
    if len(coded) < size - (layout.row_bytes - (layout.width * layout.bits + 7) // 8):
        raise DamagedImageError("the BMP image is truncated")
    return np.frombuffer(coded.ljust(size, b"\0"), np.uint8).reshape(layout.height, layout.row_bytes)


def _indices(rows: NDArray[np.uint8], layout: _Layout) -> NDArray[np.uint8]:
    if layout.bits == 8:
        return rows[:, : layout.width]
    shifts = np.arange(8 - layout.bits, -1, -layout.bits, dtype=np.uint8)
    apart = rows[..., None] >> shifts & np.uint8((1 << layout.bits) - 1)
    return apart.reshape(len(rows), -1)[:, : layout.width]


def _masked(rows: NDArray[np.uint8], layout: _Layout) -> NDArray[np.uint8]:
    """Colours by their masks. Alpha that hides the whole picture was not meant."""
    bands = 4 if layout.masks[3] else 3
    samples = np.empty((layout.height, layout.width, bands), np.uint8)
    size = layout.bits // 8
    for top in range(0, layout.height, _ROWS_AT_A_TIME):
        part = rows[top : top + _ROWS_AT_A_TIME, : layout.width * size].reshape(-1, layout.width, size)
        pixels = part[..., 0].astype(np.uint32)
        for index in range(1, size):
            pixels |= part[..., index].astype(np.uint32) << 8 * index
        for band, mask in enumerate(layout.masks[:bands]):
            samples[top : top + len(part), :, band] = _scaled(pixels, mask)
    return samples if bands == 4 and samples[..., 3].any() else samples[..., :3]


def _scaled(pixels: NDArray[np.uint32], mask: int) -> NDArray[np.uint8]:
    if not mask:
        return np.zeros(pixels.shape, np.uint8)
    shift = (mask & -mask).bit_length() - 1
    top = mask >> shift
    values = (pixels & np.uint32(mask)) >> np.uint32(shift)
    if top == 255:
        return values.astype(np.uint8)
    return ((values.astype(np.uint64) * 255 + top // 2) // top).astype(np.uint8)


def _run_lengths(file: bytes, layout: _Layout) -> NDArray[np.uint8]:
    """Indices out of run lengths; the pixels that these leave out are 0.

    Each command writes pixels, or ends a row, or skips: there are no more of them than pixels and
    rows, or the file is hostile.
    """
    width, height = layout.width, layout.height
    rows = np.zeros((height, width), np.uint8)
    x = y = 0
    at = layout.start
    nibbles = layout.compression == _RLE4
    for _ in range(2 * width * height + 2 * height + 256):
        if at + 2 > len(file):
            raise DamagedImageError("the BMP image is truncated")
        count, value = file[at], file[at + 1]
        at += 2
        if count:
            if y < height and x < width:
                if nibbles:
                    rows[y, x : x + count : 2] = value >> 4
                    rows[y, x + 1 : x + count : 2] = value & 15
                else:
                    rows[y, x : x + count] = value
            x += count
        elif value == 0:
            x, y = 0, y + 1
        elif value == 1:
            return rows
        elif value == 2:
            if at + 2 > len(file):
                raise DamagedImageError("the BMP image is truncated")
            x, y = x + file[at], y + file[at + 1]
            at += 2
        else:
            size = (value + 1) // 2 if nibbles else value
            run = np.frombuffer(file[at : at + size], np.uint8)
            if len(run) < size:
                raise DamagedImageError("the BMP image is truncated")
            if nibbles:
                run = np.stack([run >> 4, run & 15], axis=1).ravel()[:value]
            if y < height and x < width:
                rows[y, x : x + value] = run[: width - x]
            x += value
            at += size + size % 2
        if y >= height:
            return rows
    raise DamagedImageError("the BMP image has too many parts")
