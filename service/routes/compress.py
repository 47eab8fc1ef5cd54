"""`POST /compress`: an image to a stream of the size asked for."""

from __future__ import annotations

import math
from hashlib import sha256
from itertools import islice
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel, BeforeValidator, ConfigDict, FailFast, Field

from models import Target
from models.bitstream import CodecKind
from models.codec import CodecName, check_auto
from models.metadata import Keep
from models.rate_control import Metric
from models.stream import Comparison

from ..engine.requests import CompressRequest
from ..engine.results import Measure, StoredStream
from ..http import problems
from ..http.body import describe_body
from ..http.negotiation import STREAM_TYPE, combined, content_digest, negotiate
from ..http.server_timing import server_timing
from ..runtime import RuntimeDependency, refuse_when_leaving
from .inputs import JSON, RequestsDependency, file_in, model_of, url_of

router = APIRouter(tags=["compression"], dependencies=[Depends(refuse_when_leaving)])


MAX_MEASURES = 8  # there are three; naming one twice does no harm
REPORT = "Measure the decoded result: psnr, ms-ssim, ssimulacra2, or several separated by commas."


def split(value: Any) -> Any:
    """`report=psnr,ms-ssim` and `report=psnr&report=ms-ssim` alike."""
    if not isinstance(value, list):
        return value
    # One more than there may be is enough to be refused; a URL has room for thousands.
    parts = (part for item in value for part in item.split(",", MAX_MEASURES))
    return list(islice(parts, MAX_MEASURES + 1))


METADATA = (
    "What to keep of EXIF and XMP: nothing; all but coordinates (`keep`); or those too "
    "(`keep-with-gps`). It is part of the budget. Thumbnails and maker notes are never kept."
)
DROPPED = (
    "Metadata of the image that is not in the answer: exif, icc (the colours are converted to sRGB), xmp, "
    "iptc; of what was kept, gps, maker-note, thumbnail, extended-xmp."
)


class CompressQuery(BaseModel):
    """Parameters. Exactly one of `bpp`, `max_bytes` and `quality` must be given, or minima, alone
    or beside a budget, which `models.Target` checks."""

    model_config = ConfigDict(extra="forbid")

    bpp: float | None = Field(
        default=None,
        description="Budget in bits per pixel, of the whole stream.",
        json_schema_extra={"exclusiveMinimum": 0, "maximum": 32},
    )
    max_bytes: int | None = Field(
        default=None, description="Budget in bytes, of the whole stream.", json_schema_extra={"minimum": 1}
    )
    quality: float | None = Field(
        default=None,
        description="A point on the model's own axis.",
        json_schema_extra={"minimum": 0, "maximum": 100},
    )
    min_psnr: float | None = Field(
        default=None,
        description="dB that the decoded picture must reach: the answer is the smallest stream that does. "
        "Of several minima all must hold.",
        json_schema_extra={"minimum": 0, "maximum": 100},
    )
    min_ms_ssim: float | None = Field(
        default=None,
        description="MS-SSIM that the decoded picture must reach.",
        json_schema_extra={"minimum": 0, "exclusiveMaximum": 1},
    )
    min_ssimulacra2: float | None = Field(
        default=None,
        description="SSIMULACRA2 that the decoded picture must reach.",
        json_schema_extra={"minimum": 0, "exclusiveMaximum": 100},
    )
    profile: str | None = Field(
        default=None,
        description="The model: `visual` (for the eye), `ms-ssim` or `psnr`. Unset, the service's default.",
    )
    codec: CodecName = Field(
        default="learned",
        description="`hybrid` is AVIF in our container, tuned for the profile's metric. `auto` takes "
        "what suits the picture: one of the two, or the learned codec with text carried by AVIF. Where "
        "the picture does not tell, and by PSNR, it makes both within the budget and answers the "
        "better by that metric; with minima, the smaller.",
    )
    report: Annotated[list[Measure], Field(max_length=MAX_MEASURES), FailFast(), BeforeValidator(split)] = (
        Field(default=[], description=f"{REPORT} What has a minimum is measured in any case.")
    )
    effort: int = Field(
        default=0,
        ge=0,
        le=9,
        description="0 is fast; more makes a better picture of the same bytes, in the time that a "
        "request has. Decoding costs the same.",
    )
    strict: bool = Field(
        default=False,
        description="Answer 422 instead of the smallest stream when that is over the budget, or of the "
        "nearest when none reaches the minima.",
    )
    metadata: Keep = Field(default="none", description=METADATA)


class Scores(BaseModel):
    """Scores of each codec's stream within the same budget, decoded."""

    metric: Metric = Field(description="The profile's.")
    learned: float | None = Field(description="dB, or 0 to 1; null when the picture came back exactly.")
    hybrid: float | None = Field(description="The same.")


class Compression(BaseModel):
    """The facts about a stream that was made and stored."""

    id: str = Field(description="SHA-256 of the stream.")
    url: str = Field(description="Where the picture can be had.")
    codec: Literal["learned", "hybrid"]
    profile: str
    model_id: str = Field(description="Of what decodes the stream: the profile's model, or the hybrid codec.")
    width: int
    height: int
    bytes: int
    bpp: float = Field(description="Bits per pixel, of the whole stream.")
    target_bpp: float | None = Field(
        description="The budget in bits per pixel; null when a quality was asked for."
    )
    target_met: bool = Field(
        description="Within the budget and at most 1 % under it, or a quality; false when it is out of "
        "the model's reach. With minima: reaches all, within the budget if there is one."
    )
    larger_than_source: bool = Field(description="The stream has more bytes than the file that was sent.")
    quality: float = Field(description="0 to 100, on the model's own axis.")
    effort: int = Field(description="What was asked for, 0 to 9.")
    effort_reached: int = Field(
        description="What was done: less where the deadline, or a shutdown, ended it early."
    )
    psnr: float | None = Field(
        default=None, description="dB, when asked for; null when the picture came back exactly."
    )
    ms_ssim: float | None = Field(default=None, description="0 to 1, when asked for.")
    ssimulacra2: float | None = Field(default=None, description="At most 100, when asked for.")
    auto: Scores | None = Field(
        default=None, description="With `codec=auto`, where both were made, how they compared."
    )
    metadata_bytes: int | None = Field(default=None, description="Of the metadata kept; null for none.")
    dropped: list[str] = Field(default=[], description=DROPPED)
    warnings: list[str] = Field(
        default=[], description="What is wrong with the image file, although it was read."
    )


SCORES = {
    "Ziggurat-PSNR": "dB, when asked for.",
    "Ziggurat-MS-SSIM": "0 to 1, when asked for.",
    "Ziggurat-SSIMULACRA2": "At most 100, when asked for.",
}
HEADERS = {
    "Location": "Where the picture can be had.",
    "ETag": "The stream's id.",
    "Content-Digest": "SHA-256 of this body (RFC 9530).",
    "Server-Timing": "Milliseconds by stage, unless switched off.",
    "Ziggurat-Bpp": "Bits per pixel, of the whole stream.",
    "Ziggurat-Target-Bpp": "The budget in bits per pixel, unless a quality was asked for.",
    "Ziggurat-Target-Met": "true or false.",
    "Ziggurat-Larger-Than-Source": "true when the stream has more bytes than the file that was sent.",
    "Ziggurat-Codec": "learned or hybrid.",
    "Ziggurat-Auto": "With codec=auto, where both were made, the metric and what they scored: "
    "`metric=ms-ssim, learned=0.94120, hybrid=0.93310`.",
    "Ziggurat-Model": "Profile and model id.",
    "Ziggurat-Effort": "What was done, 0 to 9; less than asked for where the deadline ended it early.",
    **SCORES,
    "Ziggurat-Dropped": DROPPED,
    "Ziggurat-Warning": "What is wrong with the image file, although it was read.",
}


@router.post(
    "/compress",
    status_code=201,
    response_class=Response,
    responses={
        201: {
            "model": Compression,
            "description": "The stream, or with `Accept: application/json` the facts about it. It is "
            "stored in either case.",
            "content": {STREAM_TYPE: {"schema": {"type": "string", "format": "binary"}}},
            "headers": {
                name: {"description": text, "schema": {"type": "string"}} for name, text in HEADERS.items()
            },
        },
        **problems.describe(406, 413, 415, 422, 429, 503, 507),
    },
    openapi_extra=describe_body("image/*"),
)
async def compress(
    request: Request,
    runtime: RuntimeDependency,
    requests: RequestsDependency,
    query: Annotated[CompressQuery, Query()],
) -> Response:
    """Compress an image, sent raw or as multipart field `file`, to a budget. The same image, budget
    and effort done give the same id."""
    media_type = negotiate(combined(request.headers, "accept"), (STREAM_TYPE, JSON))
    target = Target(
        bpp=query.bpp,
        max_bytes=query.max_bytes,
        quality=query.quality,
        min_psnr=query.min_psnr,
        min_ms_ssim=query.min_ms_ssim,
        min_ssimulacra2=query.min_ssimulacra2,
    )
    if query.codec == "auto":
        check_auto(target)
    profile = model_of(runtime, query.profile).codec.name  # a wrong one is refused before the body
    wanted = CompressRequest(
        target, profile, query.codec, frozenset(query.report), query.effort, query.strict, query.metadata
    )

    async with file_in(request, runtime, accepts="image/*") as file:
        stored = await requests.compress(file, wanted)

    url = url_of(request, stored.id)
    model_id = runtime.engine.models.model_id(stored.made.stream.model)
    facts = _facts(stored, url, profile, model_id, query.effort)
    body = stored.made.stream.data if media_type == STREAM_TYPE else facts.model_dump_json().encode()
    headers = _headers(facts, body)
    if runtime.settings.server_timing:
        headers["Server-Timing"] = server_timing(stored.timings)
    return Response(body, 201, headers, media_type)


def _facts(stored: StoredStream, url: str, profile: str, model_id: str, effort: int) -> Compression:
    made = stored.made
    stream = made.stream
    compared = stream.auto
    return Compression(
        id=stored.id,
        url=url,
        codec="hybrid" if stream.codec is CodecKind.HYBRID else "learned",
        profile=profile,
        model_id=model_id,
        width=stream.width,
        height=stream.height,
        bytes=len(stream.data),
        bpp=stream.bpp,
        target_bpp=stream.target_bpp,
        target_met=stream.target_met,
        larger_than_source=len(stream.data) > stored.source_bytes,
        quality=stream.quality,
        effort=effort,
        effort_reached=made.effort,
        psnr=made.report.get(Measure.PSNR),
        ms_ssim=made.report.get(Measure.MS_SSIM),
        ssimulacra2=made.report.get(Measure.SSIMULACRA2),
        auto=None if compared is None else _scores(compared),
        metadata_bytes=None if stored.kept.section is None else len(stored.kept.section),
        dropped=list(stored.kept.dropped),
        warnings=list(stored.warnings),
    )


def _scores(compared: Comparison) -> Scores:
    return Scores(metric=compared.metric, learned=compared.learned, hybrid=compared.hybrid)


def _headers(facts: Compression, body: bytes) -> dict[str, str]:
    headers = {
        "Location": facts.url,
        "ETag": f'"{facts.id}"',
        "Vary": "Accept",
        "Content-Digest": content_digest(sha256(body).digest()),
        "Ziggurat-Bpp": f"{facts.bpp:.6f}",
        "Ziggurat-Target-Met": str(facts.target_met).lower(),
        "Ziggurat-Codec": facts.codec,
        "Ziggurat-Model": f"{facts.profile}/{facts.model_id}",
        "Ziggurat-Effort": str(facts.effort_reached),
        **scores(facts.psnr, facts.ms_ssim, facts.ssimulacra2),
    }
    if facts.target_bpp is not None:
        headers["Ziggurat-Target-Bpp"] = f"{facts.target_bpp:.6f}"
    if facts.larger_than_source:
        headers["Ziggurat-Larger-Than-Source"] = "true"
    if facts.auto is not None:
        headers["Ziggurat-Auto"] = (
            f"metric={facts.auto.metric}, learned={_score(facts.auto.learned)}, "
            f"hybrid={_score(facts.auto.hybrid)}"
        )
    if facts.dropped:
        headers["Ziggurat-Dropped"] = ", ".join(facts.dropped)
    if facts.warnings:
        headers["Ziggurat-Warning"] = "; ".join(facts.warnings)
    return headers


def scores(psnr: float | None, ms_ssim: float | None, ssimulacra2: float | None) -> dict[str, str]:
    """Write headers of the scores that there are, those of `SCORES`."""
    texts = (
        None if psnr is None else f"{psnr:.3f}",
        None if ms_ssim is None else f"{ms_ssim:.5f}",
        None if ssimulacra2 is None else f"{ssimulacra2:.2f}",
    )
    return {name: text for name, text in zip(SCORES, texts, strict=True) if text is not None}


def _score(value: float | None) -> str:
    return "inf" if value is None or math.isinf(value) else f"{value:.5f}"
