from __future__ import annotations

import re

import pytest
from fastapi.testclient import TestClient

from service.app import create_app
from service.engine.work import Timings
from service.http.server_timing import ServerTiming
from service.settings import Settings


def test_stages_come_in_order_and_in_milliseconds() -> None:
    timing = ServerTiming()
    timing.engine(Timings(queue=0.5, device=2, entropy=0.0004))
    with pytest.raises(KeyError), timing.stage("store"):
        raise KeyError

    assert re.fullmatch(r"queue;dur=500\.0, device;dur=2000\.0, entropy;dur=0\.4, store;dur=[\d.]+", timing.header())


def stages(header: str) -> dict[str, float]:
    return {name: float(milliseconds) for name, milliseconds in re.findall(r"([\w-]+);dur=([\d.]+)", header)}


def test_answers_tell_where_their_time_went(client: TestClient, jpeg: bytes) -> None:
    made = client.post("/compress?bpp=1", content=jpeg, headers={"Content-Type": "image/jpeg"})
    decoded = client.get(made.headers["location"])

    assert list(stages(made.headers["server-timing"])) == ["decode", "queue", "device", "entropy", "store"]
    assert list(stages(decoded.headers["server-timing"])) == ["store", "queue", "device", "entropy", "encode"]
    assert stages(made.headers["server-timing"])["device"] > 0


def test_it_can_be_switched_off(jpeg: bytes) -> None:
    settings = Settings(store="memory://", models=("psnr",), profile="psnr", server_timing=False)
    with TestClient(create_app(settings)) as client:
        made = client.post("/compress?bpp=1", content=jpeg, headers={"Content-Type": "image/jpeg"})
        assert "server-timing" not in made.headers
        assert "server-timing" not in client.get(made.headers["location"]).headers
