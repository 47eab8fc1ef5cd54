"""TIFF's samples: of 1 to 16 or 32 bits, in pixels or planes, in strips or tiles.

libtiff undoes the compression, and nothing else: it is given a file of our own making, in which
every row is a row of bytes. What these bytes mean is worked out here, since Pillow knows a part of
the combinations and takes some for others. Only fax codes and JPEG, which know of pixels, are left
to it whole.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .colour import image_of
from .errors import DamagedImageError, ImageTooLargeError, UnsupportedVariantError
from .facts import Coded, Pixels
from .pillow import opened, silenced, silenced_library

MAX_SAMPLES = 16  # of a pixel
MAX_PARTS = 1 << 17  # strips or tiles
MAX_BYTES = 1 << 30  # of all samples

_RAW, _FAX_RLE, _FAX_3, _FAX_4, _LZW, _JPEG, _DEFLATE, _OLD_DEFLATE = 1, 2, 3, 4, 5, 7, 8, 32946
_PACK_BITS, _LZMA, _ZSTD = 32773, 34925, 50000
_FAX = (_FAX_RLE, _FAX_3, _FAX_4)
_OF_BYTES = (_RAW, _LZW, _DEFLATE, _OLD_DEFLATE, _PACK_BITS, _LZMA, _ZSTD)
_COMPRESSIONS = {
    6: "old-style JPEG compression",
    32809: "ThunderScan compression",
    34676: "SGI log compression",
    34677: "SGI log compression",
    34712: "JPEG 2000 compression",
    34887: "LERC compression",
    50001: "WebP compression",
    50002: "JPEG XL compression",
    52546: "JPEG XL compression",
}

_MIN_IS_WHITE, _MIN_IS_BLACK, _RGB, _PALETTE, _MASK, _CMYK, _YCBCR, _LAB = 0, 1, 2, 3, 4, 5, 6, 8
_COLOURS = {_MIN_IS_WHITE: 1, _MIN_IS_BLACK: 1, _RGB: 3, _PALETTE: 1, _CMYK: 4, _YCBCR: 3, _LAB: 3}
_PHOTOMETRICS = {
    _MASK: "a transparency mask as its picture",
    9: "ICC L*a*b* colours",
    10: "ITU L*a*b* colours",
    32803: "a camera's raw samples (CFA)",
    32844: "LogL samples",
    32845: "LogLuv samples",
    34892: "a camera's raw samples (linear)",
    51177: "a depth map as its picture",
}
_UNSIGNED, _SIGNED, _FLOAT, _UNDEFINED = 1, 2, 3, 4
_FORMATS = {_SIGNED: "signed samples", 5: "complex samples", 6: "complex samples"}
_UNSPECIFIED, _ASSOCIATED, _UNASSOCIATED = 0, 1, 2
_FLOAT_KINDS = {16: "f2", 32: "f4", 64: "f8"}
_PREDICTOR_NONE, _PREDICTOR_DIFFERENCES, _PREDICTOR_FLOAT = 1, 2, 3

Scaled = NDArray[np.uint8] | NDArray[np.uint16]
"""Samples of all bits of their type."""

_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """How the samples lie in a file, by its tags; a strip or a tile is a part.

    Attributes:
        width, height: of the picture, in pixels.
        bits: of each sample of a pixel, or one number for all.
        samples: of a pixel.
        formats: SampleFormat of each, or one for all.
        extra: ExtraSamples, what the samples beyond colour mean; None without the tag.
        photometric: what the colour samples mean.
        compression, predictor: how they were packed.
        planar: each sample has parts of its own.
        reversed_bits: the first pixel is in the lowest bits.
        big_endian: byte order of the file.
        tiled: parts are tiles, padded to their whole size.
        part_width, part_height: of a part, in pixels.
        offsets, sizes: of the parts in the file, in bytes.
        colour_map: all reds, then all greens, then all blues, of 16 bits.
        ink_set: 1 is cyan, magenta, yellow, black.
        subsampling: of chroma, across and down.
        reference: ReferenceBlackWhite.
        jpeg_tables: that the parts share.
        fax_options: T4Options or T6Options.
    """

    width: int
    height: int
    bits: tuple[int, ...]
    samples: int
    formats: tuple[int, ...]
    extra: tuple[int, ...] | None
    photometric: int
    compression: int
    predictor: int
    planar: bool
    reversed_bits: bool
    big_endian: bool
    tiled: bool
    part_width: int
    part_height: int
    offsets: tuple[int, ...]
    sizes: tuple[int, ...]
    colour_map: tuple[int, ...]
    ink_set: int
    subsampling: tuple[int, ...]
    reference: tuple[int, ...]
    jpeg_tables: bytes
    fax_options: int

    @property
    def depth(self) -> int:
        """Bits of a sample; all have the same."""
        return self.bits[0]

    @property
    def colours(self) -> int:
        """Samples of a pixel's colour."""
        return _COLOURS[self.photometric]

    @property
    def interleaved(self) -> int:
        """Samples that lie beside each other in a part."""
        return 1 if self.planar else self.samples

    @property
    def across(self) -> int:
        """Parts beside each other."""
        return -(-self.width // self.part_width)

    @property
    def down(self) -> int:
        """Parts below each other."""
        return -(-self.height // self.part_height)

    @property
    def row_bytes(self) -> int:
        """Bytes of a part's row."""
        return (self.part_width * self.interleaved * self.depth + 7) // 8


def check(layout: Layout) -> None:
    """Refuse what is not read.

    Raises:
        DamagedImageError: tags contradict each other.
        ImageTooLargeError: the samples take too many bytes.
        UnsupportedVariantError: the variant is none of ours; it is named.
    """
    for known, value, what in (
        (_COMPRESSIONS, layout.compression, "compression"),
        (_PHOTOMETRICS, layout.photometric, "photometric interpretation"),
    ):
        if value in known:
            raise UnsupportedVariantError("TIFF", known[value])
        allowed = (*_OF_BYTES, *_FAX, _JPEG) if what == "compression" else _COLOURS
        if value not in allowed:
            raise UnsupportedVariantError("TIFF", f"{what} {value}")
    if not layout.colours <= layout.samples <= MAX_SAMPLES:
        raise UnsupportedVariantError("TIFF", f"{layout.samples} samples a pixel")
    if len(set(layout.bits)) > 1:
        raise UnsupportedVariantError("TIFF", f"samples of unequal bits {layout.bits[:8]}")
    if len(set(layout.formats)) > 1:
        raise UnsupportedVariantError("TIFF", "samples of several formats")
    kind = layout.formats[0]
    if kind in _FORMATS or kind not in (_UNSIGNED, _FLOAT, _UNDEFINED):
        raise UnsupportedVariantError("TIFF", _FORMATS.get(kind, f"sample format {kind}"))
    if kind == _FLOAT and layout.depth not in _FLOAT_KINDS:
        raise UnsupportedVariantError("TIFF", f"{layout.depth}-bit floating-point samples")
    if kind == _FLOAT and layout.photometric not in (_MIN_IS_WHITE, _MIN_IS_BLACK, _RGB):
        raise UnsupportedVariantError("TIFF", "floating-point samples that are neither grey nor RGB")
    # Of 17 to 31 bits writers do not agree on the order of bytes.
    if not (kind == _FLOAT or 1 <= layout.depth <= 16 or layout.depth == 32):
        raise UnsupportedVariantError("TIFF", f"{layout.depth}-bit samples")
    if layout.photometric in (_PALETTE, _YCBCR, _LAB) and layout.depth > 8:
        raise UnsupportedVariantError("TIFF", f"{layout.depth}-bit samples of a palette, YCbCr or L*a*b*")
    if layout.photometric in (_YCBCR, _LAB) and layout.depth != 8:
        raise UnsupportedVariantError("TIFF", f"{layout.depth}-bit YCbCr or L*a*b* samples")
    if layout.photometric == _CMYK and layout.ink_set != 1:
        raise UnsupportedVariantError("TIFF", "other inks than CMYK")
    if layout.photometric == _PALETTE and len(layout.colour_map) != 3 << layout.depth:
        raise DamagedImageError("the TIFF image has no palette, or one of another size")
    if layout.width * layout.height * layout.samples * layout.depth > 8 * MAX_BYTES:
        raise ImageTooLargeError(f"the TIFF image's samples take more than the limit of {MAX_BYTES} bytes")
    padded = layout.across * layout.part_width * layout.down * layout.part_height
    if layout.tiled and padded > 4 * layout.width * layout.height + (1 << 22):
        raise DamagedImageError("the TIFF image's tiles are far larger than the picture")
    if len(layout.offsets) > MAX_PARTS:
        raise DamagedImageError("the TIFF image has too many parts")
    expected = layout.across * layout.down * (layout.samples if layout.planar else 1)
    if len(layout.offsets) < expected:
        raise DamagedImageError("the TIFF image lacks some of its strips or tiles")
    _check_packing(layout)


def _check_packing(layout: Layout) -> None:
    allowed = {_PREDICTOR_NONE, _PREDICTOR_FLOAT if layout.formats[0] == _FLOAT else _PREDICTOR_DIFFERENCES}
    packed = layout.compression in (_LZW, _DEFLATE, _OLD_DEFLATE, _LZMA, _ZSTD)
    if packed and layout.predictor not in allowed:
        raise UnsupportedVariantError("TIFF", f"predictor {layout.predictor} for such samples")
    if packed and layout.predictor == _PREDICTOR_DIFFERENCES and layout.depth not in (8, 16, 32):
        raise UnsupportedVariantError("TIFF", f"predictor 2 for {layout.depth}-bit samples")
    if layout.compression in _FAX and (layout.depth, layout.samples) != (1, 1):
        raise UnsupportedVariantError("TIFF", "fax compression of other than bilevel samples")
    if layout.compression == _JPEG:
        grey = layout.photometric in (_MIN_IS_BLACK,) and layout.samples == 1
        colour = layout.photometric in (_RGB, _YCBCR) and layout.samples == 3 and not layout.planar
        if layout.depth != 8 or not (grey or colour):
            raise UnsupportedVariantError("TIFF", "JPEG compression of other than grey, RGB or YCbCr samples")
    elif layout.photometric == _YCBCR and (
        tuple(layout.subsampling[:2]) != (1, 1) or layout.reference != (0, 255, 128, 255, 128, 255)
    ):
        raise UnsupportedVariantError("TIFF", "subsampled or narrow-range YCbCr samples without JPEG")


def decode(file: bytes, layout: Layout) -> Coded:
    """The samples of a file that `check` let pass.

    Raises:
        DamagedImageError: samples are missing or packed wrongly.
        UnsupportedVariantError: floating-point samples outside 0 to 1, or transparent CMYK.
    """
    if layout.compression in _FAX:
        return Coded(_as_coded(file, layout, "1").convert("L"))
    if layout.compression == _JPEG:
        return Coded(_as_coded(file, layout, "L" if layout.samples == 1 else "RGB"))
    return Coded(_pixels(_samples(file, layout), layout))


def _pixels(samples: NDArray[Any], layout: Layout) -> Pixels:
    """Samples (H, W, S) as pixels."""
    colours = samples[..., : layout.colours]
    if layout.photometric == _PALETTE:
        scaled: Scaled = _in_palette(colours[..., 0], layout)
    else:
        scaled = _scaled(colours, layout)
    if layout.photometric == _MIN_IS_WHITE:
        scaled = ~scaled
    alpha, associated = _alpha(samples, layout)
    if layout.photometric in (_CMYK, _YCBCR, _LAB):
        if alpha is not None and layout.extra and (alpha != np.iinfo(alpha.dtype).max).any():
            raise UnsupportedVariantError("TIFF", "CMYK, YCbCr or L*a*b* samples that are transparent")
        return _of_other_colours(scaled, layout)
    if alpha is None:
        return _mode_of(scaled)
    if scaled.dtype != alpha.dtype:  # a palette's
        alpha = (alpha.astype(np.uint16) >> 8).astype(np.uint8)
    if associated:
        top = int(np.iinfo(scaled.dtype).max)
        whole = np.maximum(alpha, 1).astype(np.float32)[..., None]
        divided: NDArray[Any] = np.minimum(scaled * (top / whole) + 0.5, top).astype(alpha.dtype)
        return _mode_of(np.concatenate([divided, alpha[..., None]], axis=2))
    return _mode_of(np.concatenate([scaled, alpha[..., None]], axis=2))


def _mode_of(samples: NDArray[Any]) -> Pixels:
    return image_of(samples) if samples.dtype == np.uint8 else samples


def _alpha(samples: NDArray[Any], layout: Layout) -> tuple[Scaled | None, bool]:
    """Opacity, scaled as the colours are, and whether these are multiplied with it."""
    if layout.extra is None:
        # Writers that leave the tag out mean opacity, unless it would hide the whole picture.
        kinds: tuple[int, ...] = (_UNASSOCIATED,) if layout.samples == layout.colours + 1 else ()
    else:
        kinds = layout.extra
    for index, kind in enumerate(kinds[: layout.samples - layout.colours]):
        # Corel Draw 10 writes 999.
        if kind in (_ASSOCIATED, _UNASSOCIATED, 999):
            alpha = _scaled(samples[..., layout.colours + index], layout)
            if layout.extra is None and not alpha.any():
                return None, False
            return alpha, kind == _ASSOCIATED
    return None, False


def _scaled(samples: NDArray[Any], layout: Layout) -> Scaled:
    """Samples of all their bits: of uint8 for up to 8 bits, and else of uint16."""
    if layout.formats[0] == _FLOAT:
        fractions = samples.astype(np.float32, copy=False)
        if not (fractions.min() >= -1e-3 and fractions.max() <= 1 + 1e-3):  # neither holds for NaN
            raise UnsupportedVariantError("TIFF", "floating-point samples outside 0 to 1")
        return (np.clip(fractions, 0, 1) * np.float32(65535) + np.float32(0.5)).astype(np.uint16)
    depth = layout.depth
    if depth == 8:
        return samples.astype(np.uint8, copy=False)
    if depth == 16:
        return samples.astype(np.uint16, copy=False)
    if depth > 16:
        return (samples.astype(np.uint32, copy=False) >> np.uint32(depth - 16)).astype(np.uint16)
    top = (1 << depth) - 1
    whole = 255 if depth < 8 else 65535
    levels = (np.arange(top + 1) * whole + top // 2) // top
    indices = samples.astype(np.uint16, copy=False)
    return levels.astype(np.uint8)[indices] if depth < 8 else levels.astype(np.uint16)[indices]


def _in_palette(indices: NDArray[Any], layout: Layout) -> NDArray[np.uint8]:
    colours = np.array(layout.colour_map, np.uint16).reshape(3, -1).T
    # Some writers use 8 of the 16 bits.
    palette = (colours if colours.max() < 256 else colours >> 8).astype(np.uint8)
    return palette[indices.astype(np.uint8, copy=False)]


def _of_other_colours(scaled: Scaled, layout: Layout) -> Image.Image:
    """CMYK, YCbCr or L*a*b*, without extra samples."""
    if scaled.dtype == np.uint16:
        scaled = (scaled >> 8).astype(np.uint8)
    size = (layout.width, layout.height)
    mode = {_CMYK: "CMYK", _YCBCR: "YCbCr", _LAB: "LAB"}[layout.photometric]
    image = Image.frombytes(mode, size, np.ascontiguousarray(scaled).tobytes())
    return image if mode == "CMYK" else image.convert("RGB")


# From the file to samples


def _samples(file: bytes, layout: Layout) -> NDArray[Any]:
    """(H, W, S) of unsigned integers or of fractions, as they were before packing."""
    planes = layout.samples if layout.planar else 1
    count = layout.across * layout.down
    kind: np.dtype[Any] = _kind(layout)
    samples = np.empty((layout.height, layout.width, layout.samples), kind.newbyteorder("="))
    wanted = layout.colours + len(layout.extra or (0,) * (layout.samples - layout.colours))
    for plane in range(min(planes, max(wanted, 1))):
        rows = _unpacked(file, layout, range(plane * count, (plane + 1) * count))
        parts = _of_bytes(rows.reshape(-1, layout.row_bytes), layout)
        shape = (layout.down, layout.across, layout.part_height, layout.part_width, layout.interleaved)
        grid = parts.reshape(shape).transpose(0, 2, 1, 3, 4)
        padded = (layout.down * layout.part_height, layout.across * layout.part_width, layout.interleaved)
        where = slice(plane, plane + 1) if layout.planar else slice(None)
        samples[..., where] = grid.reshape(padded)[: layout.height, : layout.width]
    return samples


def _kind(layout: Layout) -> np.dtype[Any]:
    """The type of a sample in the file, or what is made of one of odd bits."""
    order = ">" if layout.big_endian else "<"
    if layout.formats[0] == _FLOAT:
        return np.dtype(order + _FLOAT_KINDS[layout.depth])
    if layout.depth <= 8:
        return np.dtype(np.uint8)
    return np.dtype(order + ("u2" if layout.depth <= 16 else "u4"))


def _of_bytes(rows: NDArray[np.uint8], layout: Layout) -> NDArray[Any]:
    """Samples (rows, columns of a part, S) out of rows of bytes."""
    kind = _kind(layout)
    shape = (len(rows), layout.part_width, layout.interleaved)
    packed = layout.compression in (_LZW, _DEFLATE, _OLD_DEFLATE, _LZMA, _ZSTD)
    predictor = layout.predictor if packed else _PREDICTOR_NONE
    if predictor == _PREDICTOR_FLOAT:
        # Bytes of a row's samples lie apart by their weight, the heaviest first, as differences.
        summed = np.cumsum(rows.reshape(len(rows), -1, layout.interleaved), axis=1, dtype=np.uint8)
        weights = summed.reshape(len(rows), kind.itemsize, -1).transpose(0, 2, 1)
        return np.ascontiguousarray(weights).view(kind.newbyteorder(">"))[..., 0].reshape(shape)
    if layout.depth == 8 * kind.itemsize:
        samples = np.ascontiguousarray(rows).view(kind).reshape(shape)
        if predictor == _PREDICTOR_DIFFERENCES:
            samples = np.cumsum(samples, axis=1, dtype=kind.newbyteorder("="))
        return samples
    width = layout.part_width * layout.interleaved
    bits = np.unpackbits(rows, axis=1)[:, : width * layout.depth].reshape(len(rows), width, layout.depth)
    samples = np.zeros((len(rows), width), kind.newbyteorder("="))
    for index in range(layout.depth):
        samples = samples << 1 | bits[..., index]
    return samples.reshape(shape)


def _unpacked(file: bytes, layout: Layout, parts: range) -> NDArray[np.uint8]:
    """(parts, rows of a part, bytes of a row); what is below the picture is 0."""
    rows = layout.part_height
    row_bytes = layout.row_bytes
    if layout.compression == _RAW:
        unpacked = np.zeros((len(parts), rows * row_bytes), np.uint8)
        for index, part in enumerate(parts):
            left = rows if layout.tiled else min(rows, layout.height - index // layout.across * rows)
            size = left * row_bytes
            coded = file[layout.offsets[part] : layout.offsets[part] + size]
            if len(coded) < size:
                raise DamagedImageError("the TIFF image is truncated: samples are missing")
            coded = coded.translate(_REVERSED) if layout.reversed_bits else coded
            unpacked[index, :size] = np.frombuffer(coded, np.uint8)
        return unpacked.reshape(len(parts), rows, row_bytes)
    width = layout.across * row_bytes
    height = layout.down * rows if layout.tiled else layout.height
    tags = {256: width, 257: height, 258: 8, 262: 1, 277: 1} | _where(layout, parts, row_bytes)
    grid = np.asarray(_decompressed(file, layout, tags, parts))
    if not layout.tiled:
        grid = np.concatenate([grid, np.zeros((layout.down * rows - height, width), np.uint8)])
    shaped = grid.reshape(layout.down, rows, layout.across, row_bytes).transpose(0, 2, 1, 3)
    return shaped.reshape(len(parts), rows, row_bytes)


def _as_coded(file: bytes, layout: Layout, mode: str) -> Image.Image:
    """The image of a compression that knows of pixels, by Pillow."""
    parts = range(layout.across * layout.down)
    tags: dict[int, int | tuple[int, ...] | bytes] = {
        256: layout.width,
        257: layout.height,
        258: (layout.depth,) * layout.samples,
        262: layout.photometric,
        277: layout.samples,
        292 if layout.compression == _FAX_3 else 293: layout.fax_options,
        **_where(layout, parts, layout.part_width),
    }
    if layout.photometric == _YCBCR:
        tags[530] = layout.subsampling[:2]
    if layout.jpeg_tables:
        tags[347] = layout.jpeg_tables
    image = _decompressed(file, layout, tags, parts)
    return image.convert(mode)


def _where(layout: Layout, parts: range, width: int) -> dict[int, int | tuple[int, ...] | bytes]:
    """Tags about the parts but where they are."""
    if layout.tiled:
        return {322: width, 323: layout.part_height}
    return {278: layout.part_height}


def _decompressed(
    file: bytes, layout: Layout, tags: dict[int, int | tuple[int, ...] | bytes], parts: range
) -> Image.Image:
    """An image of a file that holds these tags, and the coded data of these parts."""
    data = []
    starts = sorted(layout.offsets)
    for part in parts:
        start = layout.offsets[part]
        size = layout.sizes[part] if part < len(layout.sizes) else 0
        # Where a size is missing, or 0, the data go up to the next part's.
        following = bisect_right(starts, start)
        end = start + size if size else starts[following] if following < len(starts) else len(file)
        data.append(memoryview(file)[start:end])
    if sum(len(coded) for coded in data) > 2 * len(file):
        raise DamagedImageError("the TIFF image's strips or tiles overlap")
    tags = tags | {259: layout.compression, 266: 2 if layout.reversed_bits else 1, 284: 1}
    made = _file_of(tags, data, layout)
    with silenced(), silenced_library():
        image = opened(made, "TIFF")
        image.load()
    return image


def _file_of(tags: dict[int, int | tuple[int, ...] | bytes], data: list[memoryview], layout: Layout) -> bytes:
    """A TIFF file of one directory. Values are longs, or shorts where they are small."""
    order = ">" if layout.big_endian else "<"
    offsets_tag, sizes_tag = (324, 325) if layout.tiled else (273, 279)
    sizes = tuple(len(part) for part in data)
    starts = tuple(int(start) for start in 8 + np.concatenate([[0], np.cumsum(sizes)[:-1]]))
    directory_at = 8 + sum(sizes)
    directory_at += directory_at % 2
    everything = tags | {offsets_tag: starts, sizes_tag: sizes}
    entries = b""
    values_at = directory_at + 2 + 12 * len(everything) + 4
    values = b""
    for tag, value in sorted(everything.items()):
        if isinstance(value, bytes):
            kind, count, packed = 7, len(value), value
        else:
            numbers = value if isinstance(value, tuple) else (value,)
            short = tag not in (offsets_tag, sizes_tag) and max(numbers) < 65536
            kind, count = 3 if short else 4, len(numbers)
            packed = struct.pack(f"{order}{count}{'H' if short else 'I'}", *numbers)
        if len(packed) <= 4:
            field = packed.ljust(4, b"\0")
        else:
            field = struct.pack(order + "I", values_at + len(values))
            values += packed + b"\0" * (len(packed) % 2)
        entries += struct.pack(order + "HHI", tag, kind, count) + field
    head = (b"MM\0*" if layout.big_endian else b"II*\0") + struct.pack(order + "I", directory_at)
    padding = b"\0" * (directory_at - 8 - sum(sizes))
    directory = struct.pack(order + "H", len(everything)) + entries + struct.pack(order + "I", 0)
    return b"".join([head, *data, padding, directory, values])
