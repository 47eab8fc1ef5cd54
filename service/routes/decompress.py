"""`/decompress`: a stream, stored or sent along, back to an image."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response

from models.postprocess.postprocessor import Postprocess

from ..engine.results import PictureFile
from ..http import problems
from ..http.body import describe_body
from ..http.links import LINKED
from ..http.negotiation import STREAM_TYPE, combined, immutable, matches_etag
from ..images import ImageFormat
from ..runtime import Runtime, RuntimeDependency, refuse_when_leaving
from .inputs import RequestsDependency, file_in
from .pictures import PICTURE, Format, described, in_turn, named, picture_answer

router = APIRouter(tags=["compression"], dependencies=[Depends(refuse_when_leaving)])

PostprocessMode = Annotated[
    Postprocess,
    Query(
        description="Take out what compressing left: as the stream recommends (`auto`), in any case "
        "(`on`; 422 where there is no "
        "post-processor for the stream), or not at all (`off`)."
    ),
]
_PICTURE = described(PICTURE, {"Ziggurat-Postprocess": "Name and id of the post-processor, or off."})
_UNCHANGED: dict[int | str, dict[str, Any]] = {
    304: {"description": "If-None-Match names the picture's ETag."}
}


@router.get(
    "/decompress/{stream_id}",
    response_class=Response,
    dependencies=[LINKED],
    responses=_PICTURE | _UNCHANGED | problems.describe(403, 404, 406, 422, 429, 503),
)
async def decompress_stored(
    request: Request,
    runtime: RuntimeDependency,
    requests: RequestsDependency,
    stream_id: str,
    format: Format = None,
    postprocess: PostprocessMode = "auto",
) -> Response:
    """The picture in a stored stream. It never changes, and may be cached for ever."""
    formats = in_turn(request, format)
    headers = _headers(runtime, stream_id, formats[0], postprocess)
    if await _is_unchanged(request, runtime, stream_id, headers):
        return Response(status_code=304, headers=headers)
    runtime.answers.check()
    made = await requests.decompress_stored(stream_id, formats, postprocess)
    answer = _answer(runtime, made)
    answer.headers.update(headers)
    return answer


@router.head(
    "/decompress/{stream_id}",
    response_class=Response,
    dependencies=[LINKED],
    responses=_PICTURE | _UNCHANGED | problems.describe(403, 404, 406, 422, 503),
)
async def probe_stored(
    request: Request,
    runtime: RuntimeDependency,
    requests: RequestsDependency,
    stream_id: str,
    format: Format = None,
    postprocess: PostprocessMode = "auto",
) -> Response:
    """Send the headers of GET's answer, without decoding; hence without a length."""
    formats = in_turn(request, format)
    headers = _headers(runtime, stream_id, formats[0], postprocess)
    if await _is_unchanged(request, runtime, stream_id, headers):
        return Response(status_code=304, headers=headers)
    image_format = await requests.format_of_stored(stream_id, formats)
    answer = Response(headers=headers, media_type=image_format.value)
    del answer.headers["content-length"]
    return answer


@router.post(
    "/decompress",
    response_class=Response,
    responses=_PICTURE | problems.describe(406, 413, 415, 422, 429, 503),
    openapi_extra=describe_body(STREAM_TYPE),
)
async def decompress_sent(
    request: Request,
    runtime: RuntimeDependency,
    requests: RequestsDependency,
    format: Format = None,
    postprocess: PostprocessMode = "auto",
) -> Response:
    """The picture in a stream, sent raw or as multipart field `file`. Nothing is stored."""
    formats = in_turn(request, format)
    async with file_in(request, runtime, accepts=STREAM_TYPE) as stream:
        made = await requests.decompress(stream, formats, postprocess)
    return _answer(runtime, made)


async def _is_unchanged(
    request: Request, runtime: Runtime, stream_id: str, headers: Mapping[str, str]
) -> bool:
    """Say whether the client has the picture of these headers. Raises `StoreError`s."""
    matches = matches_etag(combined(request.headers, "if-none-match"), headers["ETag"])
    if matches:
        await runtime.store.find(stream_id)  # 404 goes before 304
    return matches


def _headers(
    runtime: Runtime, stream_id: str, image_format: ImageFormat, postprocess: Postprocess
) -> dict[str, str]:
    # Weak: another device or library version gives the same picture to float noise, not the same
    # bytes. Other post-processors do not.
    post_processors = [] if postprocess == "off" else runtime.engine.models.post_processors
    ids = ",".join(post_processor.model_id for post_processor in post_processors)
    processed = sha256(f"{postprocess} {ids}".encode()).hexdigest()[:8]
    etag = f'W/"{stream_id}.{image_format.name.lower()}.{processed}"'
    return immutable(etag, private=bool(runtime.settings.api_keys)) | {"Vary": "Accept"}


def _answer(runtime: Runtime, made: PictureFile) -> Response:
    answer = picture_answer(runtime, made)
    answer.headers["Ziggurat-Postprocess"] = (
        "off" if made.post_processor is None else named(made.post_processor)
    )
    return answer
