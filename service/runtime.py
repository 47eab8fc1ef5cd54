"""What one running app holds, and how its endpoints get at it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from .engine import Engine
from .metrics import Metrics
from .settings import Settings
from .store import StreamStore


@dataclass(frozen=True, slots=True)
class Runtime:
    """The parts that live from start to stop."""

    settings: Settings
    metrics: Metrics
    engine: Engine
    store: StreamStore


async def _runtime(request: Request) -> Runtime:
    runtime: Runtime = request.app.state.runtime
    return runtime


RuntimeDependency = Annotated[Runtime, Depends(_runtime)]
