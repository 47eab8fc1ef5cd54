"""Inputs: what endpoints that take a file have in common: room, the body within its limits, and a look at its header."""

from __future__ import annotations

from fastapi import Request
from PIL import Image
from structlog.contextvars import bind_contextvars

from models.bitstream import Bitstream

from .. import images
from ..engine.stages import Stages
from ..http.body import Upload, read_body, read_files
from ..runtime import Runtime


async def receive(request: Request, runtime: Runtime, *, accepts: str) -> bytes:
    """Read the file in a request, raw or as multipart field `file`, once there is room for any work at all.

    Args:
        request: whose body is read.
        runtime: of the app.
        accepts: a media type or `image/*`.

    Raises:
        EngineError: no work is accepted, or too much waits already.
        UnsupportedBodyError, BodyTooLargeError, BodyTimeoutError, DigestMismatchError, MalformedBodyError: see
            `read_body`.
    """
    runtime.engine.check_room()
    settings = runtime.settings
    return await read_body(request, accepts=accepts, max_bytes=settings.max_body_bytes, seconds=settings.body_timeout_seconds)


async def receive_uploads(request: Request, runtime: Runtime, *, max_files: int) -> list[Upload]:
    """Read all files of a multipart request, likewise."""
    runtime.engine.check_room()
    settings = runtime.settings
    return await read_files(request, max_files=max_files, max_bytes=settings.max_body_bytes, seconds=settings.body_timeout_seconds)


async def open_image(file: bytes, runtime: Runtime, stages: Stages) -> Image.Image:
    """Look at the header of an image file. Raises `ImageError`s."""
    max_pixels = runtime.settings.max_pixels
    return await stages.untold("header", images.open_image, file, max_pixels=max_pixels)


async def parse_stream(data: bytes, runtime: Runtime, stages: Stages) -> Bitstream:
    """Parse a container, once for the whole request. Raises `BitstreamError`s, also for a model that is not loaded."""
    stream = await stages.untold("header", Bitstream.parse, data, max_pixels=runtime.settings.max_pixels)
    runtime.engine.models.profile_of(stream.model_id.hex())
    return stream


def bind_size(pixels: int, file_bytes: int) -> None:
    """Tell the request's log lines how large the picture is, and its bits per pixel."""
    bind_contextvars(pixels=pixels, bpp=round(8 * file_bytes / pixels, 6))
