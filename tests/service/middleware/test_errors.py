from __future__ import annotations

from collections.abc import AsyncIterator

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from service.http.problems import MEDIA_TYPE
from service.middleware.errors import FaultMiddleware
from service.middleware.request_log import RequestLogMiddleware


async def fail_at_once(_: Request) -> PlainTextResponse:
    raise RuntimeError("the password is swordfish")


async def fail_in_the_middle(_: Request) -> StreamingResponse:
    async def parts() -> AsyncIterator[bytes]:
        yield b"the first part"
        raise RuntimeError("and no second")

    return StreamingResponse(parts())


@pytest.fixture
def client() -> TestClient:
    app = Starlette(routes=[Route("/", fail_at_once), Route("/middle", fail_in_the_middle)])
    app.add_middleware(FaultMiddleware)
    app.add_middleware(RequestLogMiddleware)
    return TestClient(app)  # raises whatever leaves the app


def test_a_fault_reveals_nothing(client: TestClient) -> None:
    answer: httpx2.Response = client.get("/")

    assert (answer.status_code, answer.headers["content-type"]) == (500, MEDIA_TYPE)
    assert (answer.json()["type"], answer.json()["status"]) == ("about:blank", 500)
    assert "swordfish" not in answer.text


def test_a_fault_leaves_its_traceback_and_its_id_in_the_log(
    client: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    answer: httpx2.Response = client.get("/")

    (record,) = [record for record in caplog.records if record.levelname == "ERROR"]
    assert record.exc_info
    assert "swordfish" in str(record.exc_info[1])
    assert answer.json()["request_id"] == answer.headers["x-request-id"]


def test_an_answer_that_has_begun_is_cut_off_and_not_finished(client: TestClient) -> None:
    with pytest.raises(RuntimeError, match="and no second"):
        client.get("/middle")
