"""Answers that are pictures: their format, by `?format=` or Accept, and their headers."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Annotated, Any, Literal

from fastapi import Query, Request, Response
from pydantic import BeforeValidator

from models.postprocess.postprocessor import PostProcessor

from ..engine.results import PictureFile
from ..http.negotiation import NotAcceptableError, combined, content_digest, negotiate
from ..http.server_timing import server_timing
from ..images import NAMED, ImageFormat
from ..runtime import Runtime


def lower(name: Any) -> Any:
    """Write a name in small letters: `?format=JPG` is meant well."""
    return name.lower() if isinstance(name, str) else name


Format = Annotated[
    Literal["png", "webp", "avif", "jpeg", "jpg"] | None,
    BeforeValidator(lower),
    Query(description="The image format; goes before Accept. PNG is exact, and the default; jpg is jpeg."),
]
_MEDIA_TYPES = tuple(image_format.value for image_format in ImageFormat)
PICTURE: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The picture.",
        "content": {
            media_type: {"schema": {"type": "string", "format": "binary"}} for media_type in _MEDIA_TYPES
        },
    }
}


def described(
    responses: dict[int | str, dict[str, Any]], headers: Mapping[str, str]
) -> dict[int | str, dict[str, Any]]:
    """Add headers, which are strings, to OpenAPI's description of the answer 200."""
    schema = {"type": "string"}
    return {
        200: responses[200]
        | {"headers": {name: {"description": text, "schema": schema} for name, text in headers.items()}}
    }


def wanted(request: Request, format: str | None) -> ImageFormat:
    """Choose the format to answer in. Raises `NotAcceptableError`."""
    if format is not None:
        return NAMED[format]
    return ImageFormat(negotiate(combined(request.headers, "accept"), _MEDIA_TYPES))


def in_turn(request: Request, format: str | None) -> tuple[ImageFormat, ...]:
    """The formats to answer in, the best first: a picture may be too large for it.

    Raises:
        NotAcceptableError: there is none.
    """
    chosen = [wanted(request, format)]
    accept = combined(request.headers, "accept")
    left = [image_format.value for image_format in ImageFormat if format is None]
    with suppress(NotAcceptableError):
        while left := [media_type for media_type in left if media_type != chosen[-1].value]:
            chosen.append(ImageFormat(negotiate(accept, left)))
    return tuple(chosen)


def named(post_processor: PostProcessor) -> str:
    """Name a post-processor for a header: its name and its id."""
    return f"{post_processor.name}/{post_processor.model_id}"


def picture_answer(runtime: Runtime, made: PictureFile) -> Response:
    """Answer with a picture, with its digest and where the time went."""
    headers = {"Content-Digest": content_digest(made.sha256), "Vary": "Accept"}
    if runtime.settings.server_timing:
        headers["Server-Timing"] = server_timing(made.timings)
    return Response(made.content, headers=headers, media_type=made.format.value)
