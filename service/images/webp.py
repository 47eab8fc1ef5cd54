"""WebP (RFC 9649): its chunks, and its samples.

libwebp is given the picture and its alpha alone.
"""

from __future__ import annotations

from dataclasses import dataclass

from models.metadata import Metadata

from .colour import Colour
from .errors import AnimatedImageError, DamagedImageError
from .facts import Coded, Facts, Header
from .orientation import of_exif
from .pillow import loaded

MAX_CHUNKS = 100_000  # of which an honest still picture has six, and a film two a frame

_ALPHA_FLAG = 0x10
_BROKEN = "the WEBP image is truncated or corrupt in its header"


@dataclass(frozen=True, slots=True)
class _Chunk:
    name: bytes
    content: bytes


def read(file: bytes) -> Facts:
    """The facts of a WebP file.

    Raises:
        AnimatedImageError: it has several frames.
        DamagedImageError: its chunks are broken, or there are too many.
    """
    chunks = _chunks(file, 12, len(file))
    frames = sum(chunk.name == b"ANMF" for chunk in chunks)
    if frames > 1:
        raise AnimatedImageError(frames)
    first: dict[bytes, bytes] = {}
    for chunk in chunks:
        first.setdefault(chunk.name, chunk.content)
    canvas = first.get(b"VP8X")
    picture = first
    if frames:  # a film of one frame is a picture, as long as it fills the canvas
        frame = first[b"ANMF"]
        picture = {chunk.name: chunk.content for chunk in reversed(_chunks(frame, 16, len(frame)))}
    size = _size(picture)
    if canvas is not None:
        if len(canvas) < 10:
            raise DamagedImageError(_BROKEN)
        told = _24_bits(canvas, 4) + 1, _24_bits(canvas, 7) + 1
        if told != size:
            raise DamagedImageError("the WEBP image is of another size than its canvas")
    return Facts(
        Header("WEBP", *size),
        lambda: Coded(loaded(_stripped(picture, size), "WEBP")),
        orientation=of_exif(first.get(b"EXIF", b"")),
        colour=Colour(first.get(b"ICCP")),
        metadata=Metadata(first.get(b"EXIF"), first.get(b"XMP ")),
    )


def _chunks(content: bytes, at: int, end: int) -> list[_Chunk]:
    chunks: list[_Chunk] = []
    for _ in range(MAX_CHUNKS):
        if at + 8 > end:
            return chunks
        size = int.from_bytes(content[at + 4 : at + 8], "little")
        chunks.append(_Chunk(content[at : at + 4], content[at + 8 : at + 8 + size]))
        at += 8 + size + size % 2
    raise DamagedImageError("the WEBP image has too many parts")


def _size(picture: dict[bytes, bytes]) -> tuple[int, int]:
    """Columns and rows by the first bytes of the coded picture."""
    lossy, lossless = picture.get(b"VP8 ", b""), picture.get(b"VP8L", b"")
    if len(lossy) >= 10 and lossy[3:6] == b"\x9d\x01\x2a":
        size = int.from_bytes(lossy[6:8], "little") & 0x3FFF, int.from_bytes(lossy[8:10], "little") & 0x3FFF
    elif len(lossless) >= 5 and lossless[0] == 0x2F:
        bits = int.from_bytes(lossless[1:5], "little")
        size = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    else:
        raise DamagedImageError(_BROKEN)
    if not all(size):
        raise DamagedImageError(_BROKEN)
    return size


def _24_bits(content: bytes, at: int) -> int:
    return int.from_bytes(content[at : at + 3], "little")


def _stripped(picture: dict[bytes, bytes], size: tuple[int, int]) -> bytes:
    def chunk(name: bytes, content: bytes) -> bytes:
        return name + len(content).to_bytes(4, "little") + content + b"\0" * (len(content) % 2)

    name = b"VP8L" if b"VP8 " not in picture else b"VP8 "
    parts = [chunk(name, picture[name])]
    if name == b"VP8 " and b"ALPH" in picture:
        canvas = bytes([_ALPHA_FLAG, 0, 0, 0]) + b"".join((side - 1).to_bytes(3, "little") for side in size)
        parts = [chunk(b"VP8X", canvas), chunk(b"ALPH", picture[b"ALPH"]), *parts]
    body = b"WEBP" + b"".join(parts)
    return b"RIFF" + len(body).to_bytes(4, "little") + body
