"""`GET /info`: what this service is, what it can do, and what it lets a request have."""

from __future__ import annotations

from typing import Literal, get_args

from fastapi import APIRouter
from pydantic import BaseModel, Field

from models.bitstream import VERSION
from models.codec import CodecName
from models.grid import MAX_SIDE
from models.hybrid.codec import HybridCodec
from models.learned.codec import EFFORTS
from models.postprocess.postprocessor import PostProcessor
from models.rate_control import Metric

from .. import __version__
from ..engine.effort import MAX_EFFORT_PIXELS
from ..engine.results import Measure
from ..http import problems
from ..images import FORMATS, NAMED
from ..runtime import Runtime, RuntimeDependency

router = APIRouter(tags=["models"])


class LoadedModel(BaseModel):
    """A model that is loaded."""

    name: str = Field(description="Of a codec, what `profile` takes.")
    kind: Literal["codec", "hybrid", "post-processor"]
    model_id: str = Field(description="8 hex digits; streams carry it.")
    metric: Metric | None = Field(description="What a codec spends its bits for.")
    default: bool = Field(description="Of a codec: it is taken when a request names none.")


class Limits(BaseModel):
    """Limits of a request."""

    pixels: int = Field(description="Of an image or a stream, and of all images of an allocation.")
    side: int = Field(description="Of an image, in pixels.")
    body_bytes: int
    allocation_images: int = Field(description="That may share one budget.")
    effort: int = Field(description="The highest.")
    effort_pixels: int = Field(description="Of an image that effort is done on.")
    seconds: float = Field(description="From a request's last byte to its answer.")


class Abilities(BaseModel):
    """Abilities that depend on how the service was installed and set up."""

    codecs: list[CodecName] = Field(description="What `codec` takes.")
    measures: list[Measure] = Field(description="What `report` takes, and what may have a minimum.")
    reads: list[str] = Field(description="Names of the image formats that are read.")
    writes: list[str] = Field(description="What `format` takes.")
    enhance: bool = Field(description="There is a post-processor for other encoders' files.")
    delete: bool = Field(description="Streams can be deleted, by a key with that role if there are keys.")
    keys: bool = Field(description="Requests need an API key.")


class Info(BaseModel):
    """Facts about the service."""

    version: str
    format_version: int = Field(description="Of the streams that it writes and reads.")
    device: str = Field(description="Where the networks run.")
    models: list[LoadedModel]
    limits: Limits
    can: Abilities


@router.head("/info", include_in_schema=False)
@router.get("/info", responses=problems.describe(422))
async def info(runtime: RuntimeDependency) -> Info:
    """The version, the models, the limits of a request, and what can be asked for."""
    settings = runtime.settings
    return Info(
        version=__version__,
        format_version=VERSION,
        device=settings.device,
        models=_models(runtime),
        limits=Limits(
            pixels=settings.max_pixels,
            side=MAX_SIDE,
            body_bytes=settings.max_body_bytes,
            allocation_images=settings.max_allocation_images,
            effort=EFFORTS[-1],
            effort_pixels=min(MAX_EFFORT_PIXELS, settings.max_pixels),
            seconds=settings.request_timeout_seconds,
        ),
        can=Abilities(
            codecs=list(get_args(CodecName)),
            measures=list(Measure),
            reads=[name.lower() for name in FORMATS],
            writes=list(NAMED),
            enhance=runtime.engine.models.hybrid.post_processor is not None,
            delete=bool(settings.api_keys) or settings.delete_without_keys,
            keys=bool(settings.api_keys),
        ),
    )


def _models(runtime: Runtime) -> list[LoadedModel]:
    loaded = runtime.engine.models
    hybrid = LoadedModel(
        name=HybridCodec.name, kind="hybrid", model_id=HybridCodec.model_id, metric=None, default=False
    )
    codecs = [
        LoadedModel(
            name=name,
            kind="codec",
            model_id=codec.model_id,
            metric=codec.metric,
            default=name == runtime.settings.profile,
        )
        for name, codec in loaded.codecs.items()
    ]
    return [*codecs, hybrid, *map(_post_processor, loaded.post_processors)]


def _post_processor(post_processor: PostProcessor) -> LoadedModel:
    return LoadedModel(
        name=post_processor.name,
        kind="post-processor",
        model_id=post_processor.model_id,
        metric=None,
        default=False,
    )
