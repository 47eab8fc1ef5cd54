"""`/livez` and `/readyz`: for orchestrators and load balancers."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel

from ..drain import Phase
from ..engine.errors import UnavailableError
from ..http import problems
from ..runtime import RuntimeDependency

router = APIRouter(tags=["health"])


class Health(BaseModel):
    """All is well; anything else is a problem with status 503."""

    status: Literal["ok"] = "ok"


@router.head("/livez", include_in_schema=False)
@router.get("/livez", responses=problems.describe(503))
async def livez(runtime: RuntimeDependency) -> Health:
    """Live: the device thread runs and was seen lately. Red means: restart the process."""
    if not runtime.engine.alive:
        raise UnavailableError("the device thread has ended or is stuck", retry_after=30)
    return Health()


@router.head("/readyz", include_in_schema=False)
@router.get("/readyz", responses=problems.describe(503))
async def readyz(runtime: RuntimeDependency) -> Health:
    """Ready: the models are loaded and warmed up, and nobody has asked to stop. Red means: send
    requests elsewhere."""
    if not runtime.engine.ready or runtime.drain.phase > Phase.SERVING:
        raise UnavailableError("the service is leaving or its device failed", retry_after=10)
    return Health()
