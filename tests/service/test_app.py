from __future__ import annotations

from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from service.app import create_app
from service.http.openapi import unrouted
from service.middleware.metrics import UNKNOWN_ROUTE
from service.settings import Settings


def test_errors_of_the_framework_are_problems_too(client: TestClient) -> None:
    answers = [client.get("/nowhere"), client.put("/compress"), client.get("/compress")]

    assert [answer.status_code for answer in answers] == [404, 405, 405]
    assert {answer.headers["content-type"] for answer in answers} == {"application/problem+json"}
    assert answers[1].headers["allow"] == "POST"


def test_openapi_names_media_types_and_statuses(client: TestClient) -> None:
    paths = client.get("/openapi.json").json()["paths"]

    compress = paths["/compress"]["post"]
    assert set(compress["responses"]) == {
        "201",
        "400",
        "403",
        "405",
        "406",
        "408",
        "413",
        "415",
        "421",
        "422",
        "429",
        "500",
        "503",
        "507",
    }
    assert set(compress["responses"]["201"]["content"]) == {"image/vnd.ziggurat", "application/json"}
    assert set(compress["requestBody"]["content"]) == {
        "image/*",
        "application/octet-stream",
        "multipart/form-data",
    }
    assert set(paths["/decompress/{stream_id}"]["get"]["responses"]["200"]["content"]) == {
        "image/png",
        "image/webp",
        "image/avif",
        "image/jpeg",
    }


def test_openapi_describes_every_error_as_a_problem(client: TestClient) -> None:
    document = client.get("/openapi.json").json()

    for operations in document["paths"].values():
        for operation in operations.values():
            for status, response in operation["responses"].items():
                if status >= "400":
                    assert set(response["content"]) == {"application/problem+json"}
    assert {"Problem", "InvalidParameter", "Compression", "StreamFacts"} <= set(
        document["components"]["schemas"]
    )
    assert "HTTPValidationError" not in document["components"]["schemas"]


def test_pages_of_the_origins_set_may_call_and_read_our_headers() -> None:
    app = create_app(Settings(store="memory://", cors_origins=("https://a.example",)))
    client = TestClient(app)  # not started: a preflight and a 404 need no models
    asked = {
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "x-api-key, content-type",
    }

    welcome = client.options("/compress", headers={"Origin": "https://a.example"} | asked)
    stranger = client.options("/compress", headers={"Origin": "https://b.example"} | asked)
    answer = client.get("/nowhere", headers={"Origin": "https://a.example"})

    assert (welcome.status_code, welcome.headers["access-control-allow-origin"]) == (200, "https://a.example")
    assert "access-control-allow-origin" not in stranger.headers
    exposed = answer.headers["access-control-expose-headers"].lower()
    assert all(
        name in exposed
        for name in (
            "ziggurat-bpp",
            "location",
            "content-digest",
            "server-timing",
            "x-request-id",
            "retry-after",
        )
    )


def test_without_the_setting_no_origin_is_welcome(client: TestClient) -> None:
    answer = client.get("/livez", headers={"Origin": "https://a.example"})
    assert not [name for name in answer.headers if name.startswith("access-control")]


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/compress", "POST"),
        ("/decompress/0", "GET, HEAD"),
        ("/bitstreams/0", "DELETE, GET, HEAD"),
        ("/bitstreams/0/info", "GET, HEAD"),
        ("/livez", "GET, HEAD"),
        ("/", "GET, HEAD"),
    ],
)
def test_405_names_every_method_of_the_path(client: TestClient, path: str, allowed: str) -> None:
    answer = client.request("PATCH", path)
    assert (answer.status_code, answer.headers["allow"]) == (405, allowed)


@pytest.mark.parametrize("path", ["/", "/livez", "/readyz", "/models", "/metrics", "/openapi.json", "/docs"])
def test_whatever_can_be_had_can_be_asked_about(client: TestClient, path: str) -> None:
    head = client.head(path)
    get = client.get(path)
    assert (head.status_code, head.headers["content-type"]) == (200, get.headers["content-type"])


def test_a_fault_is_answered_counted_and_readable_by_welcome_pages() -> None:
    """The order of the middleware: a fault becomes an answer before anything else looks at it."""
    app = create_app(Settings(store="memory://", cors_origins=("https://a.example",)))

    @app.get("/faulty")
    async def faulty() -> None:
        raise RuntimeError("nobody foresaw this")

    answer = TestClient(app).get("/faulty", headers={"Origin": "https://a.example", "X-Request-ID": "mine"})

    assert (answer.status_code, answer.headers["content-type"]) == (500, "application/problem+json")
    assert answer.headers["access-control-allow-origin"] == "https://a.example"
    assert (answer.headers["x-request-id"], answer.json()["request_id"]) == ("mine", "mine")
    labels = {"route": "/faulty", "method": "GET", "status": "500"}
    assert app.state.metrics.registry.get_sample_value("ziggurat_requests_total", labels) == 1
    assert app.state.drain.in_flight == 0


def test_every_answer_that_an_endpoint_declares_is_a_series_from_the_start() -> None:
    app = create_app(
        Settings.model_validate({"store": "memory://", "api_keys": "a-key-of-ours-that-is-long"})
    )
    documented = {
        (UNKNOWN_ROUTE if int(status) in unrouted(method) else path, method.upper(), status)
        for path, operations in app.openapi()["paths"].items()
        for method, operation in operations.items()
        for status in operation["responses"]
        if status != "405"  # which belongs to the path
    }

    def value(route: str, method: str, status: str) -> float | None:
        labels = {"route": route, "method": method, "status": status}
        found: float | None = app.state.metrics.registry.get_sample_value("ziggurat_requests_total", labels)
        return found

    assert {answer for answer in documented if value(*answer) != 0} == set()


def test_a_store_in_a_directory_is_watched_and_one_in_memory_is_not(tmp_path: Path) -> None:
    watched = {}
    for store in (str(tmp_path), "memory://"):
        with TestClient(
            create_app(Settings(store=store, store_max_bytes=0, models=("psnr",), profile="psnr", threads=1))
        ) as client:
            watched[store] = "ziggurat_store_max_bytes +Inf" in client.get("/metrics").text

    assert watched == {str(tmp_path): True, "memory://": False}


def test_behind_a_proxy_that_strips_a_path_addresses_begin_with_it(jpeg: bytes) -> None:
    settings = Settings(store="memory://", models=("psnr",), profile="psnr", threads=1, root_path="/img")
    with TestClient(create_app(settings)) as client:
        made = client.post(
            "/compress?bpp=1",
            content=jpeg,
            headers={"Content-Type": "image/jpeg", "Accept": "application/json"},
        )
        both = client.post(
            "/allocate?budget_bpp=1",
            json={"ids": [made.json()["id"]]},
            headers={"Accept": "application/json"},
        )

        address = f"/img/decompress/{made.json()['id']}"
        assert (made.headers["location"], made.json()["url"]) == (address, address)
        assert both.json()["streams"][0]["url"].startswith("/img/decompress/")
        assert client.get(address.removeprefix("/img")).status_code == 200
        assert client.get(address).status_code == 200, "or the proxy leaves it"
