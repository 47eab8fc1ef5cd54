"""Every endpoint that takes a file has the same limits, and reads no body when there is no room."""

from __future__ import annotations

from json import dumps

import pytest
from fastapi.testclient import TestClient

JSON = {"Content-Type": "application/json"}
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


def test_a_body_of_ids_has_no_room_for_more_than_ids(client: TestClient) -> None:
    large = client.post("/allocate?budget_bpp=1", content=b'{"ids":[' + b"1," * 100_000, headers=JSON)
    small = client.post("/allocate?budget_bpp=1", content=b'{"ids":[' + b"1," * 4000 + b"1]}", headers=JSON)

    assert (large.status_code, small.status_code) == (413, 422)
    assert len(small.json()["errors"]) == 1, "the first that is wrong ends it"


def test_as_many_ids_as_are_allowed_fit(client: TestClient) -> None:
    ids = [f"{number:064x}" for number in range(100)]
    answer = client.post("/allocate?budget_bpp=1", content=dumps({"ids": ids}, indent=4), headers=JSON)

    assert answer.json()["type"] == "urn:problem-type:ziggurat:unknown-id"


def test_bodies_of_all_requests_together_are_bounded(
    client: TestClient, jpeg: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    bodies = client.app.state.runtime.bodies  # type: ignore[attr-defined]
    monkeypatch.setattr(bodies, "_max_bytes", len(jpeg))
    with bodies.arrival() as other:
        other.grow(1000)
        other.complete()
        answer = client.post("/compress?bpp=1", content=jpeg, headers={"Content-Type": "image/jpeg"})

    assert (answer.status_code, answer.json()["type"]) == (429, "urn:problem-type:ziggurat:overloaded")
    assert int(answer.headers["retry-after"]) > 0
    assert client.post("/compress?bpp=1", content=jpeg, headers={"Content-Type": "image/jpeg"}).is_success
    assert bodies.bytes == 0


def test_no_picture_is_made_while_too_many_are_not_taken(client: TestClient, jpeg: bytes) -> None:
    answers = client.app.state.runtime.answers  # type: ignore[attr-defined]
    with answers.held(2**30):
        refused = [
            client.post("/compress?bpp=1", content=jpeg, headers={"Content-Type": "image/jpeg"}),
            client.get(f"/decompress/{'0' * 64}"),
        ]
        assert client.get("/livez").is_success
    assert [answer.status_code for answer in refused] == [429, 429]


def operations(client: TestClient) -> list[tuple[str, str]]:
    paths = client.get("/openapi.json").json()["paths"]
    machines = ("/livez", "/readyz", "/metrics")
    found = [(method, path) for path, listed in paths.items() for method in listed if path not in machines]
    assert len(found) > 8
    return [(method, path.replace("{stream_id}", "0" * 64)) for method, path in found]


def test_every_endpoint_refuses_unknown_parameters_and_names_its_own(client: TestClient) -> None:
    for method, path in operations(client):
        answer = client.request(method, f"{path}?qualty=50")
        assert (method, path, answer.status_code) == (method, path, 422)
        if method != "head":
            assert "qualty: there is no such parameter; there are " in answer.json()["detail"]
    assert client.post("/enhance?qualty=50").json()["detail"].endswith("there are format")


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/enhance?format=png&format=webp", "format"),
        ("/decompress?postprocess=on&postprocess=off", "postprocess"),
        ("/compress?bpp=1&bpp=1", "bpp"),
        ("/allocate?budget_bpp=1&effort=1&effort=9", "effort"),
    ],
)
def test_a_parameter_given_twice_is_refused(client: TestClient, path: str, name: str) -> None:
    answer = client.post(path)

    assert answer.status_code == 422
    assert answer.json()["errors"] == [{"parameter": name, "detail": "it has 2 values; it takes one"}]


def test_a_list_may_be_given_in_parts(client: TestClient, jpeg: bytes) -> None:
    assert client.post("/compress?bpp=1&report=psnr&report=ms-ssim", content=jpeg).status_code == 201


def test_probes_may_have_parameters_of_their_own(client: TestClient) -> None:
    assert client.get("/livez?from=here&from=there").status_code == 200
