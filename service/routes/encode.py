"""`POST /encode`: an image as a JPEG, WebP or AVIF of at most so many bytes, to compare with."""

from __future__ import annotations

from hashlib import sha256
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel, BeforeValidator, ConfigDict, FailFast, Field

from ..engine.requests import EncodeRequest
from ..engine.results import Measure
from ..http import problems
from ..http.body import describe_body
from ..http.negotiation import content_digest
from ..http.server_timing import server_timing
from ..images import NAMED
from ..runtime import RuntimeDependency, refuse_when_leaving
from .compress import DROPPED, MAX_MEASURES, REPORT, SCORES, scores, split
from .inputs import RequestsDependency, file_in
from .pictures import described, lower

router = APIRouter(tags=["compression"], dependencies=[Depends(refuse_when_leaving)])

HEADERS = {
    "Ziggurat-Bpp": "Bits per pixel, of the whole file.",
    "Ziggurat-Quality": "The encoder's setting.",
    **SCORES,
    "Ziggurat-Dropped": DROPPED,
}
_BINARY = {"schema": {"type": "string", "format": "binary"}}
_FILE = described(
    {
        200: {
            "description": "The file.",
            "content": {f"image/{kind}": _BINARY for kind in ("jpeg", "webp", "avif")},
        }
    },
    HEADERS,
)


class EncodeQuery(BaseModel):
    """Parameters; `format` and `max_bytes` must be given."""

    model_config = ConfigDict(extra="forbid")

    format: Annotated[Literal["jpeg", "jpg", "webp", "avif"], BeforeValidator(lower)] = Field(
        description="What to write; jpg is jpeg."
    )
    max_bytes: int = Field(ge=1, description="Bytes that the file may have.")
    report: Annotated[list[Measure], Field(max_length=MAX_MEASURES), FailFast(), BeforeValidator(split)] = (
        Field(default=[], description=REPORT)
    )


@router.post(
    "/encode",
    response_class=Response,
    responses=_FILE | problems.describe(413, 415, 422, 429, 503),
    openapi_extra=describe_body("image/*"),
)
async def encode(
    request: Request,
    runtime: RuntimeDependency,
    requests: RequestsDependency,
    query: Annotated[EncodeQuery, Query()],
) -> Response:
    """The image, sent raw or as multipart field `file`, in another codec's format: at the highest
    quality whose file has at most `max_bytes`. Nothing is stored.

    It is there to compare with a stream of the same size. When the coarsest setting is still over,
    the answer is 422.
    """
    image_format = NAMED[query.format]
    wanted = EncodeRequest(image_format, query.max_bytes, frozenset(query.report))
    async with file_in(request, runtime, accepts="image/*") as file:
        made = await requests.encode(file, wanted)

    headers = {
        "Content-Digest": content_digest(sha256(made.content).digest()),
        "Ziggurat-Bpp": f"{8 * len(made.content) / made.pixels:.6f}",
        "Ziggurat-Quality": str(made.quality),
        **scores(*(made.report.get(measure) for measure in Measure)),
    }
    if made.dropped:
        headers["Ziggurat-Dropped"] = ", ".join(made.dropped)
    if runtime.settings.server_timing:
        headers["Server-Timing"] = server_timing(made.timings)
    return Response(made.content, headers=headers, media_type=image_format.value)
