"""Bodies of requests: what a caller gives as an image or a stream, as chunks that can be sent.

A file is read while it is sent and never held. A body that can be opened again can be sent again.
"""

from __future__ import annotations

import io
import os
import secrets
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from ziggurat.pixels import metadata_of, plain

Source = (
    str
    | os.PathLike[str]
    | bytes
    | bytearray
    | memoryview
    | IO[bytes]
    | Image.Image
    | Image.SupportsArrayInterface
)
"""The path of a file, its bytes, an open file (read from where it stands), a Pillow image, or an
array (H, W, 3) of uint8."""

Chunks = Generator[bytes, None, None]
CHUNK_BYTES = 1 << 18
STREAM_TYPE = "image/vnd.ziggurat"


@dataclass(frozen=True, slots=True)
class Body:
    """The content of a request.

    Attributes:
        open: begins to read it.
        length: in bytes; None when only reading tells.
        repeatable: `open` may be called more than once.
        media_type: of all of it.
        name: of the file, for the service's own names.
    """

    open: Callable[[], Chunks]
    length: int | None
    repeatable: bool = True
    media_type: str = "application/octet-stream"
    name: str = "image"


def body_of(source: Source, metadata: bool = False) -> Body:
    """Turn what a caller gave into a body.

    A Pillow image is encoded here, as PNG: with its EXIF and XMP if there is to be `metadata`.

    Raises:
        OSError: there is no such file, or not a readable one.
        TypeError: it is nothing of what `Source` says.
    """
    if isinstance(source, str | os.PathLike):
        return _of_path(Path(source))
    if isinstance(source, bytes | bytearray | memoryview):
        return of_bytes(bytes(source))
    if isinstance(source, Image.Image):
        return _of_image(source, metadata)
    if hasattr(source, "__array_interface__"):
        return _of_image(Image.fromarray(source), False)
    if hasattr(source, "read"):
        return _of_file(source)
    kind = type(source).__name__
    raise TypeError(f"give a path, bytes, an open file, a Pillow image or an array, not {kind}")


def of_bytes(content: bytes, media_type: str = "application/octet-stream", name: str = "image") -> Body:
    """Make a body of bytes at hand."""

    def chunks() -> Chunks:
        for start in range(0, len(content), CHUNK_BYTES):
            yield content[start : start + CHUNK_BYTES]

    return Body(chunks, len(content), media_type=media_type, name=name)


def multipart(parts: Sequence[Body]) -> Body:
    """Make one `multipart/form-data` body of files, each a field `file`."""
    boundary = secrets.token_hex(16)
    heads = [_head(boundary, part.name) for part in parts]
    end = f"--{boundary}--\r\n".encode()

    def chunks() -> Chunks:
        for head, part in zip(heads, parts, strict=True):
            yield head
            yield from part.open()
            yield b"\r\n"
        yield end

    lengths = [part.length for part in parts]
    known = None if None in lengths else sum(length or 0 for length in lengths)
    return Body(
        chunks,
        None if known is None else known + sum(len(head) + 2 for head in heads) + len(end),
        all(part.repeatable for part in parts),
        f"multipart/form-data; boundary={boundary}",
    )


def _of_path(path: Path) -> Body:
    def chunks() -> Chunks:
        with path.open("rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                yield chunk

    with path.open("rb") as file:  # a missing one is found before anything is sent
        length = file.seek(0, os.SEEK_END)
    return Body(chunks, length, name=path.name)


def _of_file(file: IO[bytes]) -> Body:
    seekable = not hasattr(file, "seekable") or file.seekable()
    start = file.tell() if seekable else 0

    def chunks() -> Chunks:
        if seekable:
            file.seek(start)
        while chunk := file.read(CHUNK_BYTES):
            if not isinstance(chunk, bytes):
                raise TypeError("open the file in binary mode: open(path, 'rb')")
            yield chunk

    length = None
    if seekable:
        length = file.seek(0, os.SEEK_END) - start
        file.seek(start)
    return Body(chunks, length, seekable, name=_name(getattr(file, "name", None)))


def _of_image(image: Image.Image, metadata: bool) -> Body:
    file = io.BytesIO()
    exif, xmp = metadata_of(image) if metadata else (None, None)
    text = PngInfo()
    if xmp is not None:
        text.add_itxt("XML:com.adobe.xmp", xmp.decode(errors="replace"))
    also = {} if exif is None else {"exif": exif}
    plain(image).save(file, "PNG", compress_level=1, icc_profile=None, pnginfo=text, **also)
    return of_bytes(file.getvalue(), "image/png", _name(getattr(image, "filename", None)))


def _name(path: object) -> str:
    return (Path(path).name if isinstance(path, str) else "") or "image"


def _head(boundary: str, name: str) -> bytes:
    # As browsers write names (HTML, "multipart form data").
    quoted = name.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
    return (
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{quoted}"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n"
    ).encode(errors="replace")
