from __future__ import annotations

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from service.app import create_app
from service.settings import Settings

# Not started: answers of middleware, and 404, need no models.


def client(base: str = "http://img.example", **settings: object) -> TestClient:
    chosen = Settings.model_validate({"store": "memory://"} | settings)
    return TestClient(create_app(chosen), base_url=base)


def test_every_answer_tells_browsers_to_believe_its_type() -> None:
    called = client(allowed_hosts="img.example")
    answers = [
        called.get("/nowhere"),
        called.get("/openapi.json"),
        called.put("/compress"),
        called.get("/models", headers={"Host": "other.example"}),
        called.post("/compress", headers={"Sec-Fetch-Site": "cross-site"}),
    ]

    assert [answer.status_code for answer in answers] == [404, 200, 405, 421, 403]
    assert {answer.headers["x-content-type-options"] for answer in answers} == {"nosniff"}


def test_a_fault_has_it_too() -> None:
    app: FastAPI = create_app(Settings(store="memory://"))

    @app.get("/faulty")
    async def faulty() -> None:
        raise RuntimeError("nobody foresaw this")

    assert TestClient(app).get("/faulty").headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    ("base", "allowed", "status"),
    [
        ("http://img.example:8000", "img.example", 404),
        ("http://other.example", "img.example", 421),
        ("http://other.example", "*", 404),
        ("http://127.0.0.1", "", 404),
        ("http://testserver", "", 404),
    ],
)
def test_only_names_of_the_service_are_answered(base: str, allowed: str, status: int) -> None:
    answer = client(base, allowed_hosts=allowed).get("/nowhere")

    assert answer.status_code == status
    assert status == 404 or answer.json()["type"] == "urn:problem-type:ziggurat:unknown-host"


def test_refusals_are_counted() -> None:
    called = client(allowed_hosts="other.example")
    called.get("/models")

    registry = called.app.state.metrics.registry  # type: ignore[attr-defined]
    assert registry.get_sample_value("ziggurat_rejected_total", {"reason": "unknown-host"}) == 1


@pytest.mark.parametrize(("method", "path"), [("POST", "/compress?bpp=1"), ("DELETE", "/bitstreams/0")])
def test_a_page_of_another_site_posts_and_deletes_nothing(method: str, path: str) -> None:
    stranger = {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}
    welcome = client(cors_origins="https://evil.example", api_keys="a-key-of-ours-that-is-long")

    refused = client().request(method, path, headers=stranger)
    allowed = welcome.request(method, path, headers=stranger)

    assert (refused.status_code, refused.json()["type"]) == (403, "urn:problem-type:ziggurat:cross-site")
    assert allowed.status_code == 401
