"""GIF89a: its blocks, and its only frame, put in its place on the screen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .colour import image_of
from .errors import AnimatedImageError, DamagedImageError, UnsupportedVariantError
from .facts import Coded, Facts, Header
from .pillow import loaded

# Blocks of at most 255 bytes, so that 64 MiB of samples have 263,000.
MAX_BLOCKS = 600_000
_MAX_FRAMES = 50_000  # that are counted

_EXTENSION, _FRAME, _END = 0x21, 0x2C, 0x3B
_CONTROL = 0xF9
_HAS_PALETTE = 0x80
_CUT_OFF = "the GIF image is truncated or corrupt in its header"


@dataclass(frozen=True, slots=True)
class _Frame:
    """A frame, and what a control block before it says.

    Attributes:
        start, end: in the file, from its head to the end of its samples.
        left, top, width, height: on the screen, in pixels.
        palette: of three bytes each.
        local_palette_bytes: size of a palette of its own; 0 when it is the file's.
        transparent: index of no colour; None without one.
    """

    start: int
    end: int
    left: int
    top: int
    width: int
    height: int
    palette: bytes
    local_palette_bytes: int
    transparent: int | None


def read(file: bytes) -> Facts:
    """The facts of a GIF file.

    Raises:
        AnimatedImageError: it has several frames.
        DamagedImageError: its blocks are broken, or there are too many.
        UnsupportedVariantError: it has no palette.
    """
    if len(file) < 13:
        raise DamagedImageError(_CUT_OFF)
    frame = _only_frame(file)
    if not frame.palette:
        raise UnsupportedVariantError("GIF", "no palette")
    # A screen smaller than its only frame is the frame's size, as in browsers.
    width = max(_16_bits(file, 6), frame.left + frame.width)
    height = max(_16_bits(file, 8), frame.top + frame.height)
    if not (frame.width and frame.height):
        raise DamagedImageError("the GIF image's frame is empty")
    return Facts(Header("GIF", width, height), lambda: _decode(file, frame, width, height))


def _only_frame(file: bytes) -> _Frame:
    at = 13
    screen_palette, at = _palette(file, file[10], at)
    transparent: int | None = None
    found: _Frame | None = None
    frames = 0
    blocks = 0
    while at < len(file):
        start, kind = at, file[at]
        if kind == _EXTENSION and at + 2 < len(file):
            control = file[at + 1] == _CONTROL and file[at + 2] == 4 and at + 7 < len(file)
            if control and found is None:
                transparent = file[at + 6] if file[at + 3] & 1 else None
            at, blocks = _behind_blocks(file, at + 2, blocks)
        elif kind == _FRAME:
            frames += 1
            if at + 10 > len(file):
                break
            left, top, width, height = (_16_bits(file, at + 1 + 2 * index) for index in range(4))
            own_palette, samples_at = _palette(file, file[at + 9], at + 10)
            at, blocks = _behind_blocks(file, samples_at + 1, blocks)
            if found is None:
                palette = own_palette or screen_palette
                found = _Frame(start, at, left, top, width, height, palette, len(own_palette), transparent)
        elif kind == _END:
            break
        else:
            at += 1  # as decoders do with stray bytes, of which zeros are common
            blocks += 1
        if blocks > MAX_BLOCKS or frames > _MAX_FRAMES:
            if frames > 1:
                break
            raise DamagedImageError("the GIF image has too many parts")
    if frames > 1:
        raise AnimatedImageError(frames if blocks <= MAX_BLOCKS and frames <= _MAX_FRAMES else None)
    if found is None:
        raise DamagedImageError(_CUT_OFF)
    return found


def _palette(file: bytes, flags: int, at: int) -> tuple[bytes, int]:
    size = 3 << (flags & 7) + 1 if flags & _HAS_PALETTE else 0
    return file[at : at + size], at + size


def _behind_blocks(file: bytes, at: int, blocks: int) -> tuple[int, int]:
    """The offset behind a run of blocks, and how many were passed up to now."""
    while at < len(file) and file[at] and blocks <= MAX_BLOCKS:
        at += file[at] + 1
        blocks += 1
    return at + 1, blocks + 1


def _16_bits(file: bytes, at: int) -> int:
    return int.from_bytes(file[at : at + 2], "little")


def _decode(file: bytes, frame: _Frame, width: int, height: int) -> Coded:
    # A file whose screen is the frame, and whose grey palette makes Pillow give indices.
    flags = file[frame.start + 9] & 0x40 | 0x87  # interlaced or not, and 256 colours
    samples = file[frame.start + 10 + frame.local_palette_bytes : frame.end]
    size = frame.width.to_bytes(2, "little") + frame.height.to_bytes(2, "little")
    grey = bytes(index for index in range(256) for _ in range(3))
    made = b"GIF89a" + size + bytes(3) + b"\x2c" + bytes(4) + size + bytes([flags]) + grey + samples + b"\x3b"
    indices = np.asarray(loaded(made, "GIF"))
    colours = np.zeros((256, 4), np.uint8)
    colours[:, 3] = 255
    known = np.frombuffer(frame.palette[: len(frame.palette) // 3 * 3], np.uint8).reshape(-1, 3)
    colours[: len(known), :3] = known
    warnings: tuple[str, ...] = ()
    if frame.transparent is not None:
        colours[frame.transparent, 3] = 0
    seen = np.bincount(indices.ravel(), minlength=256).nonzero()[0]
    if any(index >= len(known) and index != frame.transparent for index in seen):
        warnings = ("pixels outside of the GIF image's palette are black",)
    covered = (frame.width, frame.height) == (width, height)
    if covered and colours[seen, 3].all():
        return Coded(image_of(colours[:, :3][indices]), warnings)
    screen = np.zeros((height, width, 4), np.uint8)
    screen[frame.top : frame.top + frame.height, frame.left : frame.left + frame.width] = colours[indices]
    return Coded(image_of(screen), warnings)
