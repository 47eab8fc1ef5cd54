"""`POST /allocate`: one budget for many images."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from hashlib import sha256
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from models import Target
from models.errors import TargetError
from models.metadata import Keep
from models.rate_control import SET_TOLERANCE, Metric, meets

from ..engine.collection import StoredCollection
from ..engine.requests import AllocateRequest
from ..engine.results import Measure
from ..engine.timings import ENCODE
from ..http import problems
from ..http.negotiation import combined, content_digest, negotiate
from ..http.server_timing import server_timing
from ..runtime import RuntimeDependency, refuse_when_leaving
from . import archive
from .compress import DROPPED, METADATA
from .inputs import JSON, RequestsDependency, StoredStreams, model_of, pictures_in, url_of

router = APIRouter(tags=["compression"], dependencies=[Depends(refuse_when_leaving)])


class AllocateQuery(BaseModel):
    """Parameters; exactly one of `budget_bpp` and `budget_bytes` must be given."""

    model_config = ConfigDict(extra="forbid")

    budget_bpp: float | None = Field(
        default=None,
        description="Budget in bits per pixel of all images together, all streams counted.",
        json_schema_extra={"exclusiveMinimum": 0, "maximum": 32},
    )
    budget_bytes: int | None = Field(
        default=None, description="Budget in bytes of all streams.", json_schema_extra={"minimum": 1}
    )
    metric: Metric | None = Field(
        default=None,
        description="What to be best in: the mean `ms-ssim` over the images, or one `psnr` over all "
        "their pixels. Unset, as the model.",
    )
    profile: str | None = Field(
        default=None,
        description="The model: `visual` (for the eye), `ms-ssim` or `psnr`. Unset, the service's default.",
    )
    effort: int = Field(
        default=0,
        ge=0,
        le=9,
        description="0 is fast; more makes better pictures of the same bytes, in the time that a request "
        "has, shared out by pixels.",
    )
    strict: bool = Field(
        default=False,
        description="Answer 422 instead of the smallest streams when those are over the budget.",
    )
    metadata: Keep = Field(default="none", description=METADATA)


class Share(BaseModel):
    """One stream of an allocation."""

    file: str = Field(description="The stream's name in the archive.")
    id: str = Field(description="SHA-256 of the stream.")
    url: str = Field(description="Where the picture can be had.")
    width: int
    height: int
    bytes: int
    bpp: float
    quality: float = Field(description="0 to 100, on the model's own axis.")
    effort_reached: int = Field(
        description="What was done of the effort: less where there was no time for more."
    )
    larger_than_source: bool = Field(description="The stream has more bytes than what it was made from.")
    psnr: float | None = Field(description="dB; null when the picture came back exactly.")
    ms_ssim: float
    metadata_bytes: int | None = Field(description="Of the metadata kept; null for none.")
    dropped: list[str] = Field(description=DROPPED)


class Allocated(BaseModel):
    """The facts about streams that share one budget. All of them are stored."""

    profile: str
    model_id: str
    metric: Metric
    effort: int = Field(description="What was asked for, 0 to 9.")
    budget_bytes: int
    bytes: int = Field(description="Of all streams.")
    bpp: float = Field(description="Bits per pixel of all images together.")
    target_met: bool = Field(
        description="Within the budget and at most 0.5 % (or 8 bytes) under it; false when it is out of "
        "the model's reach."
    )
    psnr: float | None = Field(
        description="dB, of one mean squared error over all pixels; null when all came back exactly."
    )
    ms_ssim: float = Field(description="0 to 1, the mean over the images.")
    streams: list[Share]


_BINARY = {"type": "string", "format": "binary"}
_FORM = {
    "type": "object",
    "properties": {"file": {"type": "array", "items": _BINARY, "minItems": 1}},
    "required": ["file"],
}
_BODY = {"multipart/form-data": {"schema": _FORM}, JSON: {"schema": StoredStreams.model_json_schema()}}


@router.post(
    "/allocate",
    response_class=Response,
    responses={
        200: {
            "model": Allocated,
            "description": "A zip archive of the streams with the facts about them (`allocation.json` "
            "and `allocation.csv`), or with "
            "`Accept: application/json` the facts alone. The streams are stored in either case.",
            "content": {archive.MEDIA_TYPE: {"schema": _BINARY}},
        },
        **problems.describe(404, 406, 413, 415, 422, 429, 503, 507),
    },
    openapi_extra={"requestBody": {"required": True, "content": _BODY}},
)
async def allocate(
    request: Request,
    runtime: RuntimeDependency,
    requests: RequestsDependency,
    query: Annotated[AllocateQuery, Query()],
) -> Response:
    """Compress images, sent as multipart fields `file` or named by the ids of stored streams, to
    one budget for all of them.

    Each image gets the share at which no byte would do more for another. It is decoded nine times
    to find out, and once more for the facts. A stored stream is transcoded: the picture compressed,
    and compared with, is the one that it decodes to.
    """
    media_type = negotiate(combined(request.headers, "accept"), (archive.MEDIA_TYPE, JSON))
    target = _target(query)
    codec = model_of(runtime, query.profile).codec
    wanted = AllocateRequest(
        target, codec.name, query.metric or codec.metric, query.effort, query.strict, query.metadata
    )

    async with pictures_in(request, runtime) as inputs:
        stored = await requests.allocate(inputs, wanted)

    names = archive.safe_names(stored.names, ".zgt")
    urls = [url_of(request, stream_id) for stream_id in stored.ids]
    facts = _facts(stored, wanted, codec.model_id, _shares(stored, names, urls))
    body = facts.model_dump_json().encode()
    if media_type == archive.MEDIA_TYPE:
        files = {name: made.stream.data for name, made in zip(names, stored.collected.made, strict=True)}
        files |= {"allocation.json": body, "allocation.csv": _table(facts.streams)}
        body = await runtime.engine.stages.on_thread(ENCODE, None, archive.zipped, files)
    headers = _headers(facts, body)
    if runtime.settings.server_timing:
        headers["Server-Timing"] = server_timing(stored.timings)
    return Response(body, headers=headers, media_type=media_type)


def _target(query: AllocateQuery) -> Target:
    if (query.budget_bpp is None) == (query.budget_bytes is None):
        raise TargetError("exactly one of budget_bpp and budget_bytes is needed")
    try:
        return Target(bpp=query.budget_bpp, max_bytes=query.budget_bytes)
    except TargetError as error:
        raise TargetError(f"the budget's {error}") from None


def _facts(
    stored: StoredCollection, wanted: AllocateRequest, model_id: str, streams: list[Share]
) -> Allocated:
    size = stored.collected.size
    return Allocated(
        profile=wanted.profile,
        model_id=model_id,
        metric=wanted.metric,
        effort=wanted.effort,
        budget_bytes=stored.budget,
        bytes=size,
        bpp=8 * size / stored.pixels,
        target_met=meets(stored.budget, size, SET_TOLERANCE),
        psnr=stored.collected.scores.psnr,
        ms_ssim=stored.collected.scores.ms_ssim,
        streams=streams,
    )


def _shares(stored: StoredCollection, names: Sequence[str], urls: Sequence[str]) -> list[Share]:
    return [
        Share(
            file=name,
            id=stream_id,
            url=url,
            width=made.stream.width,
            height=made.stream.height,
            bytes=len(made.stream.data),
            bpp=made.stream.bpp,
            quality=made.stream.quality,
            effort_reached=made.effort,
            larger_than_source=len(made.stream.data) > source_bytes,
            psnr=made.report[Measure.PSNR],
            ms_ssim=made.report[Measure.MS_SSIM],
            metadata_bytes=None if kept.section is None else len(kept.section),
            dropped=list(kept.dropped),
        )
        for made, kept, name, source_bytes, stream_id, url in zip(
            stored.collected.made,
            stored.collected.kept,
            names,
            stored.source_bytes,
            stored.ids,
            urls,
            strict=True,
        )
    ]


def _headers(facts: Allocated, body: bytes) -> dict[str, str]:
    return {
        "Vary": "Accept",
        "Content-Digest": content_digest(sha256(body).digest()),
        "Ziggurat-Bpp": f"{facts.bpp:.6f}",
        "Ziggurat-Target-Met": str(facts.target_met).lower(),
        "Ziggurat-Model": f"{facts.profile}/{facts.model_id}",
    }


def _table(shares: Sequence[Share]) -> bytes:
    file = io.StringIO()
    table = csv.DictWriter(file, list(Share.model_fields), lineterminator="\n")
    table.writeheader()
    table.writerows(share.model_dump() | {"dropped": " ".join(share.dropped)} for share in shares)
    return file.getvalue().encode()
