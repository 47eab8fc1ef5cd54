"""`POST /allocate`: one budget for many images."""

from __future__ import annotations

import csv
import io
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from structlog.contextvars import bind_contextvars

from models import Picture, Target
from models.errors import CodecError, TargetError
from models.rate_control import SET_TOLERANCE, Metric, meets

from .. import images
from ..engine.collection import Collected, compress_collection
from ..engine.errors import TargetMissedError
from ..engine.results import Measure
from ..engine.stages import Stages
from ..http import problems
from ..http.body import Upload, is_form
from ..http.negotiation import content_digest, negotiate
from ..http.server_timing import server_timing
from ..images import ImageError, ImageTooLargeError
from ..runtime import Runtime, RuntimeDependency, refuse_when_leaving
from . import archive, inputs

router = APIRouter(tags=["compression"], dependencies=[Depends(refuse_when_leaving)])

_JSON = "application/json"


class AllocateQuery(BaseModel):
    """What to share among the images: exactly one of `budget_bpp` and `budget_bytes`."""

    model_config = ConfigDict(extra="forbid")

    budget_bpp: float | None = Field(
        default=None,
        description="Budget in bits per pixel of all images together, all streams counted.",
        json_schema_extra={"exclusiveMinimum": 0, "maximum": 32},
    )
    budget_bytes: int | None = Field(default=None, description="Budget in bytes of all streams.", json_schema_extra={"minimum": 1})
    metric: Metric | None = Field(
        default=None,
        description="What to be best in: the mean `ms-ssim` over the images, or one `psnr` over all their pixels. Unset, as the model.",
    )
    profile: str | None = Field(default=None, description="The model: `ms-ssim` (for the eye) or `psnr`. Unset, the service's default.")
    effort: int = Field(
        default=0,
        ge=0,
        le=9,
        description="0 is fast; more makes better pictures of the same bytes, in the time that a request has, shared out by pixels.",
    )
    strict: bool = Field(default=False, description="Answer 422 instead of the smallest streams when those are over the budget.")


class StoredStreams(BaseModel):
    """Streams to take the pictures from. What is compressed is what they decode to: the originals are not stored."""

    model_config = ConfigDict(extra="forbid")

    ids: list[str] = Field(min_length=1, description="Ids of stored streams, in the order of the answer.")


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
    effort_reached: int = Field(description="What was done of the effort: less where there was no time for more.")
    psnr: float | None = Field(description="dB; null when the picture came back exactly.")
    ms_ssim: float


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
        description="Within the budget and at most 0.5 % (or 8 bytes) under it; false when it is out of the model's reach."
    )
    psnr: float | None = Field(description="dB, of one mean squared error over all pixels; null when all came back exactly.")
    ms_ssim: float = Field(description="0 to 1, the mean over the images.")
    streams: list[Share]


@dataclass(frozen=True, slots=True)
class _Image:
    """One image of the request: what its stream is called after, its pixels, and how to get it until a deadline."""

    name: str
    pixels: int
    picture: Callable[[float], Awaitable[Picture]]


_BINARY = {"type": "string", "format": "binary"}
_FORM = {"type": "object", "properties": {"file": {"type": "array", "items": _BINARY, "minItems": 1}}, "required": ["file"]}
_BODY = {"multipart/form-data": {"schema": _FORM}, _JSON: {"schema": StoredStreams.model_json_schema()}}


@router.post(
    "/allocate",
    response_class=Response,
    responses={
        200: {
            "model": Allocated,
            "description": "A zip archive of the streams with the facts about them (`allocation.json` and `allocation.csv`), or with "
            "`Accept: application/json` the facts alone. The streams are stored in either case.",
            "content": {archive.MEDIA_TYPE: {"schema": _BINARY}},
        },
        **problems.describe(404, 406, 413, 415, 422, 429, 503, 507),
    },
    openapi_extra={"requestBody": {"required": True, "content": _BODY}},
)
async def allocate(request: Request, runtime: RuntimeDependency, query: Annotated[AllocateQuery, Query()]) -> Response:
    """Compress images, sent as multipart fields `file` or named by the ids of stored streams, to one budget for all of them.

    Each image gets the share at which no byte would do more for another. It is decoded seven times to find out, and once more for the
    facts. A stored stream is transcoded: the picture compressed, and compared with, is the one that it decodes to.
    """
    settings = runtime.settings
    engine = runtime.engine
    media_type = negotiate(request.headers.get("accept", ""), (archive.MEDIA_TYPE, _JSON))
    target = _target(query)
    profile = settings.profile if query.profile is None else query.profile
    model = engine.models.model(profile)
    metric = query.metric or model.codec.metric

    stages = engine.stages()
    wanted = await _images(request, runtime, stages)
    pixels = [image.pixels for image in wanted]
    if sum(pixels) > settings.max_pixels:
        raise ImageTooLargeError(f"the images have {sum(pixels)} pixels together; the limit is {settings.max_pixels}")
    bind_contextvars(pixels=sum(pixels), images=len(wanted))
    budget = max(1, target.budget(sum(pixels)) or 0)
    async with engine.admit(sum(pixels), effort=query.effort) as deadline:
        found = await compress_collection(
            engine,
            [image.picture for image in wanted],
            pixels,
            budget,
            metric=metric,
            profile=profile,
            effort=query.effort,
            deadline=deadline,
            stages=stages,
        )
        if query.strict and found.size > budget:
            raise TargetMissedError(f"the smallest streams that {profile} makes of these images have {found.size} bytes, not {budget}")
        with stages.store():
            ids = [await runtime.store.put(made.stream.data) for made in found.made]
    runtime.metrics.allocated(len(wanted))

    names = archive.safe_names([image.name for image in wanted], ".zgt")
    urls = [str(request.app.url_path_for("decompress_stored", stream_id=stream_id)) for stream_id in ids]
    facts = Allocated(
        profile=profile,
        model_id=model.codec.model_id,
        metric=metric,
        effort=query.effort,
        budget_bytes=budget,
        bytes=found.size,
        bpp=8 * found.size / sum(pixels),
        target_met=meets(budget, found.size, SET_TOLERANCE),
        psnr=found.scores.psnr,
        ms_ssim=found.scores.ms_ssim,
        streams=_shares(found, names, ids, urls),
    )
    body = facts.model_dump_json().encode()
    if media_type == archive.MEDIA_TYPE:
        files = {name: made.stream.data for name, made in zip(names, found.made, strict=True)}
        files |= {"allocation.json": body, "allocation.csv": _table(facts.streams)}
        body = await stages.untold("encode", archive.zipped, files)
    headers = _headers(facts, body)
    if settings.server_timing:
        headers["Server-Timing"] = server_timing(stages.seconds)
    return Response(body, headers=headers, media_type=media_type)


def _headers(facts: Allocated, body: bytes) -> dict[str, str]:
    return {
        "Vary": "Accept",
        "Content-Digest": content_digest(sha256(body).digest()),
        "Ziggurat-Bpp": f"{facts.bpp:.6f}",
        "Ziggurat-Target-Met": str(facts.target_met).lower(),
        "Ziggurat-Model": f"{facts.profile}/{facts.model_id}",
    }


def _target(query: AllocateQuery) -> Target:
    if (query.budget_bpp is None) == (query.budget_bytes is None):
        raise TargetError("exactly one of budget_bpp and budget_bytes is needed")
    try:
        return Target(bpp=query.budget_bpp, max_bytes=query.budget_bytes)
    except TargetError as error:
        raise TargetError(f"the budget's {error}") from None


async def _images(request: Request, runtime: Runtime, stages: Stages) -> list[_Image]:
    """Read the images of the request: their headers, and their pixels not yet."""
    most = runtime.settings.max_allocation_images
    if is_form(request):
        uploads = await inputs.receive_uploads(request, runtime, max_files=most)
        return [await _uploaded(runtime, stages, upload) for upload in uploads]
    body = await inputs.receive(request, runtime, accepts=_JSON)
    try:
        ids = StoredStreams.model_validate_json(body).ids
    except ValidationError as error:
        raise RequestValidationError([{**fault, "loc": ("body", *fault["loc"])} for fault in error.errors()]) from None
    if len(ids) > most:
        detail = f"{len(ids)} images for one budget; the limit is {most}"
        raise RequestValidationError([{"loc": ("body", "ids"), "msg": detail}])
    return [await _stored(runtime, stages, stream_id) for stream_id in ids]


async def _uploaded(runtime: Runtime, stages: Stages, upload: Upload) -> _Image:
    with _naming(upload.name):
        image = await inputs.open_image(upload.content, runtime, stages)

    def decoded() -> Picture:
        return images.decode(images.open_image(upload.content, max_pixels=runtime.settings.max_pixels))

    async def picture(_: float) -> Picture:
        with _naming(upload.name):
            return await stages.untold("decode", decoded)

    return _Image(upload.name, image.width * image.height, picture)


async def _stored(runtime: Runtime, stages: Stages, stream_id: str) -> _Image:
    data = await runtime.store.get(stream_id)
    with _naming(stream_id):
        stream = await inputs.parse_stream(data, runtime, stages)

    async def picture(deadline: float) -> Picture:
        with _naming(stream_id):
            made = await runtime.engine.decompress(stream, deadline=deadline)
        return made.picture

    return _Image(stream_id, stream.pixels, picture)


@contextmanager
def _naming(name: str) -> Iterator[None]:
    """Say which one of several images is bad."""
    try:
        yield
    except (CodecError, ImageError) as error:
        error.args = (f"{name[:100]!r}: {error}", *error.args[1:])
        raise


def _shares(found: Collected, names: Sequence[str], ids: Sequence[str], urls: Sequence[str]) -> list[Share]:
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
            psnr=made.report[Measure.PSNR],
            ms_ssim=made.report[Measure.MS_SSIM],
        )
        for made, name, stream_id, url in zip(found.made, names, ids, urls, strict=True)
    ]


def _table(shares: Sequence[Share]) -> bytes:
    file = io.StringIO()
    table = csv.DictWriter(file, list(Share.model_fields), lineterminator="\n")
    table.writeheader()
    table.writerows(share.model_dump() for share in shares)
    return file.getvalue().encode()
