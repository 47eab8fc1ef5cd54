"""`/metrics`: in the format that the scraper asks for."""

from __future__ import annotations

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
