from __future__ import annotations

import asyncio

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.metrics import Metrics
from service.middleware.metrics import MetricsMiddleware


async def hello(request: Request) -> PlainTextResponse:
    if request.path_params["name"] == "nobody":
        raise RuntimeError("nobody")
    return PlainTextResponse("hello")


def test_requests_are_counted_by_template_when_they_end() -> None:
    metrics = Metrics()
    app = Starlette(routes=[Route("/hello/{name}", hello)])
    app.add_middleware(MetricsMiddleware, metrics=metrics)
    client = TestClient(app, raise_server_exceptions=False)
    for path in ("/hello/you", "/hello/me", "/hello/nobody", "/nowhere/1", "/nowhere/2"):
        client.get(path)
    client.request("BREW", "/hello/you")

    def count(route: str, method: str, status: str) -> float | None:
        return metrics.registry.get_sample_value(
            "ziggurat_requests_total", {"route": route, "method": method, "status": status}
        )

    assert count("/hello/{name}", "GET", "200") == 2
    assert count("/hello/{name}", "GET", "500") == 1
    assert count("unknown", "GET", "404") == 2
    assert count("/hello/{name}", "other", "405") == 1
    assert metrics.registry.get_sample_value("ziggurat_in_flight_requests") == 0
    assert (
        metrics.registry.get_sample_value(
            "ziggurat_request_duration_seconds_count", {"route": "/hello/{name}"}
        )
        == 4
    )


def test_a_client_that_hung_up_is_no_server_error() -> None:
    metrics = Metrics()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise asyncio.CancelledError

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    async def send(_: Message) -> None:
        raise AssertionError("nobody is there")

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(_call(MetricsMiddleware(app, metrics), receive, send))
    assert metrics.registry.get_sample_value("ziggurat_in_flight_requests") == 0
    assert (
        metrics.registry.get_sample_value(
            "ziggurat_requests_total", {"route": "unknown", "method": "GET", "status": "499"}
        )
        == 1
    )


async def _call(app: ASGIApp, receive: Receive, send: Send) -> None:
    await app({"type": "http", "method": "GET"}, receive, send)
