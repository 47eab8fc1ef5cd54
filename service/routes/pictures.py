"""Pictures as answers: their format, by `?format=` or Accept, and the response, for all endpoints that give one."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from typing import Annotated, Any, Literal

from fastapi import Query, Request, Response

from models import Picture

from .. import images
from ..engine.stages import Stages
from ..http.negotiation import content_digest, negotiate
from ..http.server_timing import server_timing
from ..images import ImageFormat
from ..runtime import Runtime

Format = Annotated[
    Literal["png", "webp", "avif", "jpeg"] | None, Query(description="The image format; goes before Accept. PNG is exact, and the default.")
]
_MEDIA_TYPES = tuple(image_format.value for image_format in ImageFormat)
PICTURE: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The picture.",
        "content": {media_type: {"schema": {"type": "string", "format": "binary"}} for media_type in _MEDIA_TYPES},
    }
}


def described(responses: dict[int | str, dict[str, Any]], headers: Mapping[str, str]) -> dict[int | str, dict[str, Any]]:
    """The answer 200 with its headers, which are strings."""
    return {
        200: responses[200] | {"headers": {name: {"description": text, "schema": {"type": "string"}} for name, text in headers.items()}}
    }


def wanted(request: Request, format: str | None) -> ImageFormat:
    """The format to answer in. Raises `NotAcceptableError`."""
    if format is not None:
        return ImageFormat[format.upper()]
    return ImageFormat(negotiate(request.headers.get("accept", ""), _MEDIA_TYPES))


async def encoded(runtime: Runtime, picture: Picture, image_format: ImageFormat, stages: Stages) -> Response:
    """The picture as an answer, with its digest and where the time went."""
    file, digest = await stages.on_image_thread("encode", _encode, picture, image_format)
    headers = {"Content-Digest": content_digest(digest), "Vary": "Accept"}
    if runtime.settings.server_timing:
        headers["Server-Timing"] = server_timing(stages.seconds)
    return Response(file, headers=headers, media_type=image_format.value)


def _encode(picture: Picture, image_format: ImageFormat) -> tuple[bytes, bytes]:
    # Hashing ten megabytes takes ten milliseconds that the event loop should not give.
    file = images.encode(picture, image_format)
    return file, sha256(file).digest()
