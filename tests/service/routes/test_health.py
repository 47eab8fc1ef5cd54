from __future__ import annotations

from fastapi.testclient import TestClient

from service.app import create_app
from service.settings import Settings


def test_a_running_service_is_live_and_ready(client: TestClient) -> None:
    assert client.get("/livez").json() == {"status": "ok"}
    assert client.get("/readyz").json() == {"status": "ok"}


def test_a_stuck_device_is_not_live() -> None:
    """No thread is seen more often than every microsecond: to this setting, all are stuck."""
    settings = Settings(store="memory://", models=("ms-ssim",), stall_seconds=1e-6)

    with TestClient(create_app(settings)) as client:
        live = client.get("/livez")
        ready = client.get("/readyz")

    assert (live.status_code, ready.status_code) == (503, 503)
    assert live.headers["content-type"] == "application/problem+json"
    assert int(live.headers["retry-after"]) > 0
