from __future__ import annotations

from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient

from service.app import create_app
from service.settings import Settings

KEYS = "old-key-of-ours,new-key-of-ours"


@pytest.fixture(scope="module")
def guarded() -> Iterator[TestClient]:
    """A service that wants a key, also for its metrics."""
    with TestClient(
        create_app(
            Settings.model_validate(
                {
                    "store": "memory://",
                    "models": "psnr",
                    "profile": "psnr",
                    "api_keys": KEYS,
                    "open_metrics": False,
                }
            )
        )
    ) as client:
        yield client


@pytest.mark.parametrize("key", KEYS.split(","))
def test_each_key_opens_in_either_header(guarded: TestClient, key: str) -> None:
    for headers in (
        {"X-API-Key": key},
        {"Authorization": f"Bearer {key}"},
        {"Authorization": "Basic Zm9v", "X-API-Key": key},
    ):
        assert guarded.get("/models", headers=headers).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-API-Key": ""},
        {"X-API-Key": "old-key-of-our"},
        {"X-API-Key": KEYS},
        {"X-API-Key": "schlüssel"},
        {"Authorization": "old-key-of-ours"},
        {"Authorization": "Bearer"},
        {"Authorization": "Basic old-key-of-ours"},
    ],
)
def test_anything_else_does_not(guarded: TestClient, headers: dict[str, str]) -> None:
    encoded = {name.encode(): value.encode() for name, value in headers.items()}
    for method, path in (
        ("GET", "/models"),
        ("POST", "/compress?bpp=many"),
        ("DELETE", "/bitstreams/0"),
        ("GET", "/metrics"),
    ):
        answer = guarded.request(method, path, headers=encoded)
        assert (answer.status_code, answer.json()["type"]) == (401, "urn:problem-type:ziggurat:unauthorized")
        assert answer.headers["www-authenticate"].startswith("Bearer")


def test_probes_and_the_documentation_stay_open(guarded: TestClient) -> None:
    assert [guarded.get(path).status_code for path in ("/livez", "/readyz", "/docs", "/openapi.json")] == [
        200
    ] * 4


def test_refusals_are_counted_by_the_template_of_their_route(guarded: TestClient) -> None:
    guarded.get("/bitstreams/0123/info")
    metrics = guarded.get("/metrics", headers={"X-API-Key": "new-key-of-ours"}).text

    assert (
        'ziggurat_requests_total{method="GET",route="/bitstreams/{stream_id}/info",status="401"} 1.0'
        in metrics
    )


def test_openapi_tells_who_needs_a_key(guarded: TestClient, client: TestClient) -> None:
    document = guarded.get("/openapi.json").json()
    plain = client.get("/openapi.json").json()

    assert set(document["components"]["securitySchemes"]) == {"bearer", "api-key"}
    assert document["paths"]["/compress"]["post"]["security"] == [{"bearer": []}, {"api-key": []}]
    assert "security" not in document["paths"]["/livez"]["get"]
    assert "securitySchemes" not in plain["components"], "without keys there is nothing to ask for"


def test_keys_show_nowhere() -> None:
    settings = Settings.model_validate({"api_keys": KEYS})

    assert "key-of-ours" not in repr(settings) + str(settings) + settings.model_dump_json()
    with pytest.raises(ValueError, match="printable") as refused:
        Settings.model_validate({"api_keys": "schlüssel"})
    assert "schlüssel" not in str(refused.value)
