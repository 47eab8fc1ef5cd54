from __future__ import annotations

from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient

from service.app import create_app
from service.settings import Settings

KEYS = "the-old-key-of-ours,the-new-key-of-ours"
ROLES = ("read", "write", "delete")
KEY_OF = {role: f"the-{role}-key-of-ours" for role in ROLES}
ALL = ",".join([KEYS, *(f"{key}:{role}" for role, key in KEY_OF.items())])


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
                    "api_keys": ALL,
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
        {"X-API-Key": "the-old-key-of-our"},
        {"X-API-Key": KEYS},
        {"X-API-Key": f"{KEY_OF['read']}:read"},
        {"X-API-Key": "schlüssel"},
        {"Authorization": "the-old-key-of-ours"},
        {"Authorization": "Bearer"},
        {"Authorization": "Basic the-old-key-of-ours"},
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


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize(
    ("method", "path", "needed", "allowed"),
    [
        ("GET", "/models", "read", 200),
        ("HEAD", f"/bitstreams/{'0' * 64}", "read", 404),
        ("GET", "/metrics", "read", 200),
        ("POST", "/compress?bpp=many", "write", 422),
        ("POST", "/decompress", "write", 422),
        ("DELETE", f"/bitstreams/{'0' * 64}", "delete", 404),
    ],
)
def test_a_role_includes_those_before_it(
    guarded: TestClient, role: str, method: str, path: str, needed: str, allowed: int
) -> None:
    answer = guarded.request(method, path, headers={"X-API-Key": KEY_OF[role]})

    if ROLES.index(role) >= ROLES.index(needed):
        assert answer.status_code == allowed
    else:
        assert (answer.status_code, answer.json()["type"]) == (403, "urn:problem-type:ziggurat:forbidden")
        assert f"the role {needed}; this one's is {role}" in answer.json()["detail"]
        assert "key-of-ours" not in answer.text


def test_of_two_keys_the_one_that_allows_more_counts(guarded: TestClient) -> None:
    for first, second in ((ROLES[0], ROLES[2]), (ROLES[2], ROLES[0])):
        headers = {"Authorization": f"Bearer {KEY_OF[first]}", "X-API-Key": KEY_OF[second]}
        assert guarded.delete("/bitstreams/0", headers=headers).status_code == 404


def test_without_keys_nobody_deletes_unless_a_setting_says_so() -> None:
    plain = {"store": "memory://", "models": "psnr", "profile": "psnr"}
    for allowed, status in ((False, 403), (True, 404)):
        settings = Settings.model_validate(plain | {"delete_without_keys": allowed})
        with TestClient(create_app(settings)) as client:
            answer = client.delete(f"/bitstreams/{'0' * 64}")
            assert answer.status_code == status
            if not allowed:
                assert answer.json()["type"] == "urn:problem-type:ziggurat:forbidden"
                assert "ZIGGURAT_DELETE_WITHOUT_KEYS=true" in answer.json()["detail"]
                assert client.get(f"/bitstreams/{'0' * 64}").status_code == 404


def test_probes_and_the_documentation_stay_open(guarded: TestClient) -> None:
    assert [guarded.get(path).status_code for path in ("/livez", "/readyz", "/docs", "/openapi.json")] == [
        200
    ] * 4


def test_refusals_are_counted_by_the_template_of_their_route(guarded: TestClient) -> None:
    guarded.get("/bitstreams/0123/info")
    metrics = guarded.get("/metrics", headers={"X-API-Key": "the-new-key-of-ours"}).text

    assert (
        'ziggurat_requests_total{method="GET",route="/bitstreams/{stream_id}/info",status="401"} 1.0'
        in metrics
    )


def test_openapi_tells_who_needs_a_key(guarded: TestClient, client: TestClient) -> None:
    document = guarded.get("/openapi.json").json()
    plain = client.get("/openapi.json").json()

    assert set(document["components"]["securitySchemes"]) == {"bearer", "api-key"}
    assert document["paths"]["/compress"]["post"]["security"] == [{"bearer": []}, {"api-key": []}]
    assert "403" in document["paths"]["/compress"]["post"]["responses"]
    assert "403" not in document["paths"]["/models"]["get"]["responses"]
    assert "security" not in document["paths"]["/livez"]["get"]
    assert "securitySchemes" not in plain["components"], "without keys there is nothing to ask for"


def test_keys_show_nowhere() -> None:
    settings = Settings.model_validate({"api_keys": ALL})

    assert "key-of-ours" not in repr(settings) + str(settings) + settings.model_dump_json()
