"""`/models`: what this service compresses and enhances with."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Literal

from fastapi import APIRouter
from PIL import features
from pydantic import BaseModel, Field

from models.hybrid.codec import HybridCodec
from models.postprocess.postprocessor import FILES, PostProcessor
from models.weights import registry

from ..http import problems
from ..runtime import Runtime, RuntimeDependency

router = APIRouter(tags=["models"])


class Model(BaseModel):
    """One model that comes with the service, or the hybrid codec, which needs none."""

    name: str = Field(description="Of a codec, what `profile` takes.")
    kind: Literal["codec", "hybrid", "post-processor"]
    model_id: str = Field(description="8 hex digits; streams carry it.")
    loaded: bool
    default: bool = Field(description="Whether it is taken when a request names none.")
    device: str | None = Field(description="Where it runs, when loaded.")
    card: dict[str, Any] = Field(
        description="How it was trained, and what it measures; of the hybrid codec, its library."
    )


@router.head("/models", include_in_schema=False)
@router.get("/models", responses=problems.describe(422))
async def models(runtime: RuntimeDependency) -> list[Model]:
    """The models, loaded or not, with their cards."""
    codecs = runtime.engine.models.codecs
    return [
        *(_describe(name, runtime) for name in sorted({*codecs, *registry.available()})),
        _hybrid(),
        *(
            _describe_post_processor(post_processor)
            for post_processor in runtime.engine.models.post_processors
        ),
    ]


def _describe(name: str, runtime: Runtime) -> Model:
    codec = runtime.engine.models.codecs.get(name)
    card = codec.card if codec else registry.card(name)
    return Model(
        name=name,
        kind="codec",
        model_id=card.model_id,
        loaded=codec is not None,
        default=name == runtime.settings.profile,
        device=str(codec.device) if codec else None,
        card=asdict(card),
    )


def _hybrid() -> Model:
    card = {"name": HybridCodec.name, "library": f"libavif {features.version('avif')}"}
    return Model(
        name=HybridCodec.name,
        kind="hybrid",
        model_id=HybridCodec.model_id,
        loaded=True,
        default=False,
        device="cpu",
        card=card,
    )


def _describe_post_processor(post_processor: PostProcessor) -> Model:
    return Model(
        name=post_processor.name,
        kind="post-processor",
        model_id=post_processor.model_id,
        loaded=True,
        default=post_processor.name == FILES,
        device=str(post_processor.device),
        card=asdict(post_processor.card),
    )
