"""Inputs: no body is read when there is no room, and every endpoint that takes a file has the same limits."""

from __future__ import annotations

import pytest
from fastapi.testclient import TestClient

PATHS = ["/compress?bpp=1", "/decompress", "/enhance", "/allocate?budget_bpp=1"]
STREAM = {"Content-Type": "image/vnd.ziggurat"}


@pytest.mark.parametrize("path", PATHS)
def test_a_large_body_is_refused_by_every_endpoint(client: TestClient, path: str) -> None:
    headers = STREAM if path == "/decompress" else {"Content-Type": "image/jpeg"}
    if path.startswith("/allocate"):
        headers = {"Content-Type": "application/json"}
    answer = client.post(path, content=bytes(2_000_001), headers=headers)
    assert answer.status_code == 413
    assert answer.json()["type"].endswith(":body-too-large")


@pytest.mark.parametrize("path", PATHS)
def test_a_body_of_another_type_is_refused_by_every_endpoint(client: TestClient, path: str) -> None:
    answer = client.post(path, content=b"hello", headers={"Content-Type": "text/plain"})
    assert answer.status_code == 415
    assert answer.json()["type"].endswith(":unsupported-body")


@pytest.mark.parametrize("path", PATHS)
def test_without_room_no_body_is_read(client: TestClient, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client.app.state.runtime.engine, "accepting", False)  # type: ignore[attr-defined]
    answer = client.post(path, content=b"whatever", headers={"Content-Type": "text/plain"})
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "10"
