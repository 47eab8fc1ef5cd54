"""`/models`: what this service compresses with."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, Field

from models import registry

from ..runtime import Runtime, RuntimeDependency

router = APIRouter(tags=["models"])


class Model(BaseModel):
    """One model that comes with the service."""

    name: str = Field(description="What `profile` takes.")
    model_id: str = Field(description="8 hex digits; streams carry it.")
    loaded: bool
    default: bool = Field(description="Whether it compresses when a request names no profile.")
    device: str | None = Field(description="Where it runs, when loaded.")
    card: dict[str, Any] = Field(description="How it was trained, and its rate-distortion points.")


@router.head("/models", include_in_schema=False)
@router.get("/models")
async def models(runtime: RuntimeDependency) -> list[Model]:
    """The models, loaded or not, with their cards."""
    codecs = runtime.engine.codecs
    return [_describe(name, runtime) for name in sorted({*codecs, *registry.available()})]


def _describe(name: str, runtime: Runtime) -> Model:
    codec = runtime.engine.codecs.get(name)
    card = codec.card if codec else registry.card(name)
    return Model(
        name=name,
        model_id=card.model_id,
        loaded=codec is not None,
        default=name == runtime.settings.profile,
        device=str(codec.device) if codec else None,
        card=asdict(card),
    )
