"""`/decompress`: a stream, stored or sent along, back to an image."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Depends, Request, Response
from structlog.contextvars import bind_contextvars

from models.bitstream import Bitstream

from .. import problems
from ..body import describe_body, read_body
from ..images import ImageFormat
from ..negotiation import STREAM_TYPE, immutable, matches_etag
from ..runtime import Runtime, RuntimeDependency, refuse_when_leaving
from ..timing import ServerTiming
from .pictures import PICTURE, Format, encoded, wanted

router = APIRouter(tags=["compression"], dependencies=[Depends(refuse_when_leaving)])

_UNCHANGED: dict[int | str, dict[str, Any]] = {304: {"description": "If-None-Match names the picture's ETag."}}


@router.get("/decompress/{stream_id}", response_class=Response, responses=PICTURE | _UNCHANGED | problems.describe(404, 406, 422, 429, 503))
async def decompress_stored(request: Request, runtime: RuntimeDependency, stream_id: str, format: Format = None) -> Response:
    """The picture in a stored stream. It never changes, and may be cached for ever."""
    image_format = wanted(request, format)
    headers = _headers(stream_id, image_format)
    if matches_etag(request.headers.get("if-none-match"), headers["ETag"]):
        await runtime.store.size(stream_id)  # 404 goes before 304
        return Response(status_code=304, headers=headers)
    timing = ServerTiming()
    with timing.stage("store"), runtime.metrics.stage_timer("store"):
        stream = await runtime.store.get(stream_id)
    answer = await _decompress(runtime, stream, image_format, timing)
    answer.headers.update(headers)
    return answer


@router.head("/decompress/{stream_id}", response_class=Response, responses=PICTURE | _UNCHANGED | problems.describe(404, 406, 422, 503))
async def probe_stored(request: Request, runtime: RuntimeDependency, stream_id: str, format: Format = None) -> Response:
    """What GET would answer, without decoding; hence without a length."""
    image_format = wanted(request, format)
    headers = _headers(stream_id, image_format)
    await runtime.store.size(stream_id)
    unchanged = matches_etag(request.headers.get("if-none-match"), headers["ETag"])
    answer = Response(status_code=304 if unchanged else 200, headers=headers, media_type=image_format.value)
    del answer.headers["content-length"]
    return answer


@router.post(
    "/decompress",
    response_class=Response,
    responses=PICTURE | problems.describe(406, 413, 415, 422, 429, 503),
    openapi_extra=describe_body(STREAM_TYPE),
)
async def decompress_sent(request: Request, runtime: RuntimeDependency, format: Format = None) -> Response:
    """The picture in a stream, sent raw or as multipart field `file`. Nothing is stored."""
    image_format = wanted(request, format)
    settings = runtime.settings
    runtime.engine.check_room()
    stream = await read_body(request, accepts=STREAM_TYPE, max_bytes=settings.max_body_bytes, seconds=settings.body_timeout_seconds)
    return await _decompress(runtime, stream, image_format, ServerTiming())


def _headers(stream_id: str, image_format: ImageFormat) -> dict[str, str]:
    # Weak: another device or library version gives the same picture to float noise, not the same bytes.
    return immutable(f'W/"{stream_id}.{image_format.name.lower()}"') | {"Vary": "Accept"}


async def _decompress(runtime: Runtime, stream: bytes, image_format: ImageFormat, timing: ServerTiming) -> Response:
    engine = runtime.engine
    header = await engine.on_image_thread("header", Bitstream.parse, stream, max_pixels=runtime.settings.max_pixels)
    profile, pixels = engine.models.profile_of(header.model_id.hex()), header.width * header.height
    bind_contextvars(pixels=pixels, bpp=round(8 * len(stream) / pixels, 6))
    async with engine.admit(pixels) as deadline:
        made = await engine.decompress(stream, profile=profile, height=header.height, width=header.width, deadline=deadline)
        timing.engine(made.timings)
        return await encoded(runtime, made.picture, image_format, timing)
