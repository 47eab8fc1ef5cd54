from __future__ import annotations

import pytest
from fastapi import Depends, FastAPI
from fastapi.testclient import TestClient

from service.drain import Drain, Phase
from service.http import problems
from service.metrics import Metrics
from service.runtime import Runtime, RuntimeDependency, refuse_when_leaving


@pytest.mark.parametrize(
    ("phase", "status"), [(Phase.SERVING, 200), (Phase.DRAINING, 200), (Phase.REFUSING, 503)]
)
def test_new_work_is_refused_only_in_the_last_phase(phase: Phase, status: int) -> None:
    app = FastAPI()
    app.state.drain = Drain()
    app.state.drain.phase = phase
    problems.install(app, Metrics())

    @app.get("/work", dependencies=[Depends(refuse_when_leaving)])
    async def work() -> str:
        return "done"

    answer = TestClient(app).get("/work")

    assert answer.status_code == status
    assert (answer.headers.get("retry-after") == "10") == (status == 503)


def test_endpoints_get_the_parts_of_their_own_app() -> None:
    parts: list[Runtime] = []
    app = FastAPI()
    app.state.runtime = object()

    @app.get("/parts")
    async def endpoint(runtime: RuntimeDependency) -> None:
        parts.append(runtime)

    TestClient(app).get("/parts")

    assert parts == [app.state.runtime]
