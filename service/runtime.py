"""The parts of one running app, and the dependencies through which endpoints reach them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from .drain import Drain, Phase
from .engine.engine import Engine
from .engine.errors import UnavailableError
from .engine.watched import Watches
from .inflight import Answers, Bodies
from .metrics import Metrics
from .settings import Settings
from .siblings import Siblings
from .store import StreamStore


@dataclass(frozen=True, slots=True)
class Runtime:
    """The parts of an app that live from its start to its stop."""

    settings: Settings
    metrics: Metrics
    engine: Engine
    store: StreamStore
    drain: Drain
    bodies: Bodies
    answers: Answers
    watches: Watches
    siblings: Siblings

    def check_room(self) -> None:
        """Raise `OverloadedError` when work would be refused, or its answer find no room."""
        self.engine.check_room()
        self.answers.check()


async def _runtime(request: Request) -> Runtime:
    runtime: Runtime = request.app.state.runtime
    return runtime


async def refuse_when_leaving(request: Request) -> None:
    """Guard an endpoint that begins work.

    Raises:
        UnavailableError: the process only finishes what it has accepted.
    """
    if request.app.state.drain.phase >= Phase.REFUSING:
        raise UnavailableError("the service is shutting down", retry_after=10)


RuntimeDependency = Annotated[Runtime, Depends(_runtime)]
