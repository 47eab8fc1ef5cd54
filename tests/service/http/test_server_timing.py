from __future__ import annotations

import re

from fastapi.testclient import TestClient

from service.app import create_app
from service.http.server_timing import server_timing
from service.settings import Settings


def test_stages_come_in_order_and_in_milliseconds() -> None:
    seconds = {"queue": 0.5, "device": 2, "entropy": 0.0004}
    assert server_timing(seconds) == "queue;dur=500.0, device;dur=2000.0, entropy;dur=0.4"


def stages(header: str) -> dict[str, float]:
    return {name: float(milliseconds) for name, milliseconds in re.findall(r"([\w-]+);dur=([\d.]+)", header)}


def test_answers_tell_where_their_time_went(client: TestClient, jpeg: bytes) -> None:
    made = client.post("/compress?bpp=1", content=jpeg, headers={"Content-Type": "image/jpeg"})
    decoded = client.get(made.headers["location"])

    assert list(stages(made.headers["server-timing"])) == ["decode", "queue", "device", "entropy", "store"]
    assert list(stages(decoded.headers["server-timing"])) == ["store", "queue", "device", "entropy", "encode"]
    assert stages(made.headers["server-timing"])["device"] > 0


def test_every_kind_of_request_tells_its_own_stages(client: TestClient, jpeg: bytes) -> None:
    headers = {"Content-Type": "image/jpeg"}
    hybrid = client.post("/compress?bpp=1&codec=hybrid", content=jpeg, headers=headers)
    both = client.post("/compress?bpp=1&codec=auto&effort=1", content=jpeg, headers=headers)
    decoded = client.get(hybrid.headers["location"])
    shared = client.post("/allocate?budget_bpp=1", files=[("file", jpeg), ("file", jpeg)])
    sent = client.post("/decompress", content=both.content, headers={"Content-Type": "image/vnd.ziggurat"})
    enhanced = client.post("/enhance", content=jpeg, headers=headers)

    engine = ["queue", "device", "entropy"]
    told = [list(stages(answer.headers["server-timing"])) for answer in (hybrid, both, decoded, shared, sent)]
    assert told[0] == ["decode", *engine, "avif", "store"]
    assert told[1] == ["decode", *engine, "avif", "store"]
    assert told[2] == ["store", *engine, "avif", "encode"]
    assert told[3] == [*engine, "store"]
    assert told[4][:3] == engine
    assert told[4][-1] == "encode"
    if enhanced.status_code == 200:
        assert list(stages(enhanced.headers["server-timing"])) == ["decode", *engine, "finish", "encode"]


def test_it_can_be_switched_off(jpeg: bytes) -> None:
    settings = Settings(store="memory://", models=("psnr",), profile="psnr", server_timing=False)
    with TestClient(create_app(settings)) as client:
        made = client.post("/compress?bpp=1", content=jpeg, headers={"Content-Type": "image/jpeg"})
        assert "server-timing" not in made.headers
        assert "server-timing" not in client.get(made.headers["location"]).headers
