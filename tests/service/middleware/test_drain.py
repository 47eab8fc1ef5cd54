from __future__ import annotations

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from service.drain import Drain, Phase
from service.middleware.drain import DrainMiddleware


@pytest.mark.parametrize(
    ("phase", "connection"), [(Phase.SERVING, None), (Phase.DRAINING, "close"), (Phase.REFUSING, "close")]
)
def test_once_draining_every_answer_closes_its_connection(phase: Phase, connection: str | None) -> None:
    drain = Drain()
    drain.phase = phase
    app = Starlette()
    app.add_middleware(DrainMiddleware, drain=drain)

    assert TestClient(app).get("/nowhere").headers.get("connection") == connection


@pytest.mark.parametrize("fails", [False, True])
def test_a_request_is_in_flight_until_it_ends_well_or_not(fails: bool) -> None:
    drain = Drain()
    seen: list[int] = []

    def endpoint(_: Request) -> PlainTextResponse:
        seen.append(drain.in_flight)
        if fails:
            raise RuntimeError
        return PlainTextResponse("done")

    app = Starlette(routes=[Route("/", endpoint)])
    app.add_middleware(DrainMiddleware, drain=drain)
    TestClient(app, raise_server_exceptions=False).get("/")

    assert (seen, drain.in_flight) == ([1], 0)
