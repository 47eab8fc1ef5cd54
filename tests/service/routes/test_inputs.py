"""Every endpoint that takes a file has the same limits, and reads no body when there is no room."""

from __future__ import annotations

import pytest
from fastapi.testclient import TestClient

# Endpoints, and what they take.
ENDPOINTS = [
    ("/compress?bpp=1", "image/jpeg"),
    ("/decompress", "image/vnd.ziggurat"),
    ("/enhance", "image/jpeg"),
    ("/allocate?budget_bpp=1", "application/json"),
    ("/allocate?budget_bpp=1", "multipart/form-data; boundary=x"),
]


@pytest.mark.parametrize(("path", "media_type"), ENDPOINTS)
def test_a_large_body_is_refused(client: TestClient, path: str, media_type: str) -> None:
    answer = client.post(path, content=bytes(2_000_001), headers={"Content-Type": media_type})

    assert (answer.status_code, answer.json()["type"]) == (413, "urn:problem-type:ziggurat:body-too-large")


@pytest.mark.parametrize(("path", "media_type"), ENDPOINTS)
def test_a_body_of_another_type_is_refused(client: TestClient, path: str, media_type: str) -> None:
    answer = client.post(path, content=b"hello", headers={"Content-Type": "text/plain"})

    assert (answer.status_code, answer.json()["type"]) == (415, "urn:problem-type:ziggurat:unsupported-body")


@pytest.mark.parametrize(("path", "media_type"), ENDPOINTS)
def test_without_room_no_body_is_read(
    client: TestClient, path: str, media_type: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = client.app.state.runtime  # type: ignore[attr-defined]
    monkeypatch.setattr(runtime.engine, "_accepting", False)
    answer = client.post(path, content=bytes(2_000_001), headers={"Content-Type": media_type})

    assert (answer.status_code, answer.headers["retry-after"]) == (503, "10")


@pytest.mark.parametrize("path", ["/compress?bpp=1", "/allocate?budget_bpp=1"])
def test_a_wrong_profile_is_refused_before_the_body_is_read(client: TestClient, path: str) -> None:
    answer = client.post(
        f"{path}&profile=vmaf", content=bytes(2_000_001), headers={"Content-Type": "image/jpeg"}
    )

    assert (answer.status_code, answer.json()["type"]) == (422, "urn:problem-type:ziggurat:unknown-profile")
