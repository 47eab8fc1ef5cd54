from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from fastapi.testclient import TestClient

TOKEN = "0123456789abcdef" * 2


def test_long_work_is_watched(client: TestClient, jpeg: bytes) -> None:
    headers = {"Ziggurat-Progress": TOKEN}
    found: list[dict[str, Any]] = []
    with ThreadPoolExecutor(1) as other:
        working = other.submit(client.post, "/compress?bpp=0.5&effort=4", content=jpeg, headers=headers)
        while not working.done():
            found.append(client.get(f"/progress/{TOKEN}").json())
            time.sleep(0.01)
    assert working.result().status_code == 201

    shares = [one["share"] for one in found if one["stage"] == "device"]
    assert len({*shares}) > 1
    assert shares == sorted(shares)
    assert 0 < max(shares) <= 1
    after = client.get(f"/progress/{TOKEN}")
    assert after.json() == {"stage": "unknown", "share": None, "ahead": None, "seconds": None}
    assert after.headers["cache-control"] == "no-store"
    assert client.head(f"/progress/{TOKEN}").status_code == 200


def test_an_album_is_watched(client: TestClient, jpeg: bytes) -> None:
    files = [("file", (name, jpeg)) for name in ("a.jpg", "b.jpg")]
    headers = {"Ziggurat-Progress": TOKEN}
    shares: list[float] = []
    with ThreadPoolExecutor(1) as other:
        working = other.submit(client.post, "/allocate?budget_bpp=0.5", files=files, headers=headers)
        while not working.done():
            progress = client.get(f"/progress/{TOKEN}").json()
            if progress["share"] not in (None, 1):
                shares.append(progress["share"])
            time.sleep(0.01)
    assert working.result().status_code == 200
    assert shares == sorted(shares)
    assert {0.45, 0.9} & {*shares}  # the first, or both, are measured: nine passes of ten
