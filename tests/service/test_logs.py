from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from structlog.contextvars import bind_contextvars

from service import logs


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """Where JSON logs of all levels go, until the test is over."""
    root = logging.getLogger()
    handlers, level, stream = root.handlers[:], root.level, io.StringIO()
    logs.configure("json", "debug", stream)
    yield stream
    root.handlers[:] = handlers
    root.setLevel(level)


def lines(log: io.StringIO) -> list[dict[str, Any]]:
    """All of them but those of the client and its event loop."""
    return [line for line in map(json.loads, log.getvalue().splitlines()) if line["logger"] not in ("asyncio", "httpx2")]


async def length(request: Request) -> PlainTextResponse:
    body = await request.body()
    bind_contextvars(pixels=7)
    logging.getLogger("a.library").warning("read %d bytes", len(body))
    return PlainTextResponse(str(logs.request_id()))


def client() -> TestClient:
    app = Starlette(routes=[Route("/length/{of}", length, methods=["POST"]), Route("/livez", lambda _: PlainTextResponse("ok"))])
    app.add_middleware(logs.RequestLogMiddleware)
    return TestClient(app)


def test_a_request_and_all_that_is_logged_in_it_share_an_id(log: io.StringIO) -> None:
    answer = client().post("/length/mine", content=b"12345")

    library, access = lines(log)
    assert answer.headers["x-request-id"] == answer.text == library["request_id"] == access["request_id"]
    assert (library["message"], library["level"], library["logger"]) == ("read 5 bytes", "warning", "a.library")
    assert {name: access[name] for name in ("method", "path", "route", "status", "bytes_in", "bytes_out", "pixels")} == {
        "method": "POST",
        "path": "/length/mine",
        "route": "/length/{of}",
        "status": 200,
        "bytes_in": 5,
        "bytes_out": 32,
        "pixels": 7,
    }
    assert access["seconds"] > 0


def test_what_one_request_bound_does_not_reach_the_next(log: io.StringIO) -> None:
    one = client()
    one.post("/length/of")
    one.get("/length/of")

    assert ["pixels" in line for line in lines(log) if line["message"] == "request"] == [True, False]


@pytest.mark.parametrize(
    ("offered", "taken"),
    [("0af7-651916cd:43/dd.x_y", True), ("a" * 128, True), ("a" * 129, False), ("", False), ("two words", False), ('{"x":1}', False)],
)
def test_the_clients_id_is_taken_when_it_is_sane(log: io.StringIO, offered: str, taken: bool) -> None:
    answer = client().post("/length/of", headers={"X-Request-ID": offered})

    assert (answer.headers["x-request-id"] == offered) == taken
    assert len(answer.headers["x-request-id"]) > 10


def test_probes_are_of_interest_only_to_those_who_debug(log: io.StringIO) -> None:
    client().get("/livez")
    assert [line["level"] for line in lines(log)] == ["debug"]


def test_tracebacks_stay_within_their_line(log: io.StringIO) -> None:
    try:
        raise ValueError("broken")
    except ValueError:
        logging.getLogger("somebody").exception("it failed")

    (line,) = lines(log)
    assert "ValueError: broken" in line["exception"]


def test_a_file_gets_json_and_the_console_format_is_for_people(log: io.StringIO) -> None:
    for log_format, expected in ((None, '"message"'), ("console", "hello")):
        stream = io.StringIO()
        logs.configure(log_format, "info", stream)  # type: ignore[arg-type]
        logging.getLogger("x").info("hello", extra={"bpp": 0.15})
        assert expected in stream.getvalue()
        assert ("bpp=0.15" in stream.getvalue()) == (log_format == "console")
