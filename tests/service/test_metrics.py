from __future__ import annotations

import pytest
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from service.metrics import Metrics, MetricsMiddleware


async def hello(request: Request) -> PlainTextResponse:
    if request.path_params["name"] == "nobody":
        raise RuntimeError("nobody")
    return PlainTextResponse("hello")


def test_requests_are_counted_by_template_when_they_end() -> None:
    metrics = Metrics()
    app = Starlette(routes=[Route("/hello/{name}", hello)])
    app.add_middleware(MetricsMiddleware, metrics=metrics)
    client = TestClient(app, raise_server_exceptions=False)
    for path in ("/hello/you", "/hello/me", "/hello/nobody", "/nowhere/1", "/nowhere/2"):
        client.get(path)
    client.request("BREW", "/hello/you")

    def count(route: str, method: str, status: str) -> float | None:
        return metrics.registry.get_sample_value("ziggurat_requests_total", {"route": route, "method": method, "status": status})

    assert count("/hello/{name}", "GET", "200") == 2
    assert count("/hello/{name}", "GET", "500") == 1
    assert count("unknown", "GET", "404") == 2
    assert count("/hello/{name}", "other", "405") == 1
    assert metrics.registry.get_sample_value("ziggurat_in_flight_requests") == 0
    assert metrics.registry.get_sample_value("ziggurat_request_duration_seconds_count", {"route": "/hello/{name}"}) == 4


def test_two_apps_do_not_share_metrics() -> None:
    first, second = Metrics(), Metrics()
    first.rate_missed.inc()

    assert second.registry.get_sample_value("ziggurat_rate_missed_total") == 0


def test_stages_are_timed_also_when_they_fail() -> None:
    metrics = Metrics()
    with pytest.raises(ValueError, match="broken"), metrics.stage_timer("decode"):
        raise ValueError("broken")

    assert metrics.registry.get_sample_value("ziggurat_stage_duration_seconds_count", {"stage": "decode"}) == 1


def test_a_running_app_shows_every_series_from_the_start(client: TestClient) -> None:
    answer = client.get("/metrics")
    families = {family.name: family for family in text_string_to_metric_families(answer.text)}

    assert answer.headers["content-type"].startswith("text/plain; version=")
    assert all(name.startswith("ziggurat_") for name in families)
    assert all(family.documentation for family in families.values())
    assert {sample.labels["model"] for sample in families["ziggurat_model_info"].samples} == {"ms-ssim", "psnr"}
    assert {"overloaded", "image-too-large"} <= {sample.labels["reason"] for sample in families["ziggurat_rejected"].samples}
    routes = {sample.labels["route"] for sample in families["ziggurat_requests"].samples}
    assert {"/compress", "/decompress/{stream_id}", "/bitstreams/{stream_id}/info"} <= routes
