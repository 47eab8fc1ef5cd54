"""Answers to clients in each phase.

`tests/end_to_end/test_server.py` takes a process through the phases under load.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from service.app import create_app
from service.drain import Phase
from service.settings import Settings


@pytest.fixture(scope="module")
def app() -> FastAPI:
    return create_app(Settings(store="memory://", models=("psnr",), profile="psnr"))


@pytest.fixture(scope="module")
def client(app: FastAPI) -> Iterator[TestClient]:
    with TestClient(app) as client:
        yield client


@pytest.mark.parametrize(
    ("phase", "ready", "work", "connection"),
    [
        (Phase.SERVING, 200, 201, None),
        (Phase.DRAINING, 503, 201, "close"),
        (Phase.REFUSING, 503, 503, "close"),
    ],
)
def test_readiness_goes_first_and_then_new_work(
    app: FastAPI, client: TestClient, jpeg: bytes, phase: Phase, ready: int, work: int, connection: str | None
) -> None:
    app.state.drain.phase = phase
    answers = [
        client.get("/readyz"),
        client.post("/compress?bpp=1", content=jpeg, headers={"Content-Type": "image/jpeg"}),
    ]
    live = client.get("/livez")

    assert [answer.status_code for answer in answers] == [ready, work]
    assert {answer.headers.get("connection") for answer in (*answers, live)} == {connection}
    assert all(int(answer.headers["retry-after"]) > 0 for answer in answers if answer.status_code == 503)
    assert live.status_code == 200, "a process that is leaving is not to be killed"
    assert app.state.drain.in_flight == 0
