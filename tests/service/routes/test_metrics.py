"""`/metrics`: in the format that the scraper asks for."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from fastapi.testclient import TestClient


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [("", "text/plain"), ("application/openmetrics-text", "application/openmetrics-text")],
)
def test_the_scraper_chooses_the_format(client: TestClient, accept: str, media_type: str) -> None:
    answer = client.get("/metrics", headers={"Accept": accept})
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith(media_type)
    assert "ziggurat_requests_total" in answer.text
    assert answer.text.endswith("# EOF\n") == (media_type == "application/openmetrics-text")


def test_a_probe_gets_no_body(client: TestClient) -> None:
    answer = client.head("/metrics")
    assert (answer.status_code, answer.content) == (200, b"")


def test_scrapes_at_the_same_time_share_one_rendering(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    rendered: list[int] = []

    def encode(registry: object) -> bytes:
        time.sleep(0.3)
        rendered.append(1)
        return b"# EOF\n"

    monkeypatch.setattr("service.routes.metrics.choose_encoder", lambda accept: (encode, "text/plain"))
    with ThreadPoolExecutor(8) as scrapers:
        answers = list(scrapers.map(lambda _: client.get("/metrics"), range(8)))
    assert {answer.content for answer in answers} == {b"# EOF\n"}
    assert len(rendered) < 8
