from __future__ import annotations

import asyncio
import logging

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient
from starlette.types import Message, Receive, Scope, Send
from structlog.contextvars import bind_contextvars

from service import logs
from service.middleware.request_log import RequestLogMiddleware

from ..conftest import Log


async def length(request: Request) -> PlainTextResponse:
    body = await request.body()
    bind_contextvars(pixels=7)
    logging.getLogger("a.library").warning("read %d bytes", len(body))
    return PlainTextResponse(str(logs.request_id()))


def client() -> TestClient:
    app = Starlette(
        routes=[
            Route("/length/{of}", length, methods=["POST"]),
            Route("/livez", lambda _: PlainTextResponse("ok")),
        ]
    )
    app.add_middleware(RequestLogMiddleware)
    return TestClient(app)


def test_a_request_and_all_that_is_logged_in_it_share_an_id(log: Log) -> None:
    answer = client().post("/length/mine", content=b"12345")

    library, access = log.lines()
    assert answer.headers["x-request-id"] == answer.text == library["request_id"] == access["request_id"]
    assert (library["message"], library["level"], library["logger"]) == (
        "read 5 bytes",
        "warning",
        "a.library",
    )
    assert {
        name: access[name]
        for name in ("method", "path", "route", "status", "bytes_in", "bytes_out", "pixels")
    } == {
        "method": "POST",
        "path": "/length/mine",
        "route": "/length/{of}",
        "status": 200,
        "bytes_in": 5,
        "bytes_out": 32,
        "pixels": 7,
    }
    assert access["seconds"] > 0


def test_what_one_request_bound_does_not_reach_the_next(log: Log) -> None:
    same = client()
    same.post("/length/of")
    same.get("/length/of")

    assert ["pixels" in line for line in log.lines() if line["message"] == "request"] == [True, False]


@pytest.mark.parametrize(
    ("offered", "taken"),
    [
        ("0af7-651916cd:43/dd.x_y", True),
        ("a" * 128, True),
        ("a" * 129, False),
        ("", False),
        ("two words", False),
        ('{"x":1}', False),
    ],
)
def test_the_clients_id_is_taken_when_it_is_sane(log: Log, offered: str, taken: bool) -> None:
    answer = client().post("/length/of", headers={"X-Request-ID": offered})

    assert (answer.headers["x-request-id"] == offered) == taken
    assert len(answer.headers["x-request-id"]) > 10


def test_probes_are_of_interest_only_to_those_who_debug(log: Log) -> None:
    client().get("/livez")
    assert [line["level"] for line in log.lines()] == ["debug"]


def test_a_client_that_hung_up_and_a_fault_have_statuses_of_their_own(log: Log) -> None:
    async def receive() -> Message:
        return {"type": "http.disconnect"}

    async def send(_: Message) -> None:
        raise AssertionError("nobody is there")

    for error in (asyncio.CancelledError(), RuntimeError()):

        async def app(scope: Scope, receive: Receive, send: Send, error: BaseException = error) -> None:
            raise error

        scope = {"type": "http", "method": "GET", "path": "/", "headers": []}
        with pytest.raises(type(error)):
            asyncio.run(RequestLogMiddleware(app)(scope, receive, send))

    requests = [line for line in log.lines() if line["message"] == "request"]
    assert [(line["status"], line["level"]) for line in requests] == [(499, "info"), (500, "warning")]
