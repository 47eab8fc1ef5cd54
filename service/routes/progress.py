"""`GET /progress/{token}`: where a request is that still runs."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter, Response
from pydantic import BaseModel, Field

from ..engine.watched import StageName
from ..http import problems
from ..runtime import RuntimeDependency

router = APIRouter(prefix="/progress", tags=["compression"])


class Progress(BaseModel):
    """Progress of a request."""

    stage: StageName | Literal["unknown"] = Field(
        description="Where it is, by the names of Server-Timing; `receive` while its body comes; "
        "`unknown` when no such request runs here."
    )
    share: float | None = Field(
        default=None, description="Of an upload, of effort or of an album, what is done: 0 to 1."
    )
    ahead: int | None = Field(default=None, description="Jobs that wait before it, while it waits.")
    seconds: float | None = Field(default=None, description="Since its first byte came.")


@router.head("/{token}", include_in_schema=False)
@router.get("/{token}", responses=problems.describe(422))
async def progress(runtime: RuntimeDependency, answer: Response, token: str) -> Progress:
    """Say where the request is that carries this token in `Ziggurat-Progress`, of its client's own
    making: 32 to 128 letters, digits, - and _, at random. It is forgotten with its answer."""
    answer.headers["Cache-Control"] = "no-store"
    found = runtime.watches.progress(token)
    if found is None:  # perhaps another worker has it
        found = next(filter(None, (await runtime.siblings.ask("progress", token)).values()), None)
    if found is None:
        return Progress(stage="unknown")
    return Progress(stage=found.stage, share=found.share, ahead=found.ahead, seconds=found.seconds)
