"""`POST /enhance`: a JPEG, WebP or AVIF that somebody else made, with its artefacts taken out."""

from __future__ import annotations

from fastapi import APIRouter, Depends, Request, Response

from ..http import problems
from ..http.body import describe_body
from ..runtime import RuntimeDependency, refuse_when_leaving
from .compress import DROPPED
from .inputs import RequestsDependency, file_in
from .pictures import PICTURE, Format, described, in_turn, named, picture_answer

router = APIRouter(tags=["compression"], dependencies=[Depends(refuse_when_leaving)])

HEADERS = {
    "Ziggurat-Model": "Name and id of the post-processor.",
    "Ziggurat-Source": "Kind of the file, and how coarsely it is quantised, from 0 to 1.",
    "Ziggurat-Dropped": DROPPED,
}
_PICTURE = described(PICTURE, HEADERS)


@router.post(
    "/enhance",
    response_class=Response,
    responses=_PICTURE | problems.describe(406, 413, 415, 422, 429, 501, 503),
    openapi_extra=describe_body("image/*"),
)
async def enhance(
    request: Request, runtime: RuntimeDependency, requests: RequestsDependency, format: Format = None
) -> Response:
    """A better picture of a JPEG, WebP or AVIF file, sent raw or as multipart field `file`. Nothing
    is stored.

    How much was lost is read from the file's own quantiser. What post-processing was not trained
    for is refused: other formats, lossless files, and those of so high a quality that there is
    nothing to gain.
    """
    formats = in_turn(request, format)
    # Where there is none, the request is refused before its body is read.
    post_processor = runtime.engine.models.post_processor().post_processor
    async with file_in(request, runtime, accepts="image/*") as file:
        enhanced = await requests.enhance(file, formats)
    source = enhanced.source
    answer = picture_answer(runtime, enhanced.file)
    answer.headers["Ziggurat-Model"] = named(post_processor)
    answer.headers["Ziggurat-Source"] = f"{source.kind}; coarseness={source.coarseness:.3f}"
    if enhanced.dropped:
        answer.headers["Ziggurat-Dropped"] = ", ".join(enhanced.dropped)
    return answer
