from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Iterable

import pytest
from fastapi import FastAPI, Request
from fastapi.testclient import TestClient

from service.http import problems
from service.http.body import read_body
from service.inflight import Bodies
from service.metrics import Metrics


@pytest.fixture(scope="module")
def echo() -> TestClient:
    """An app that answers the file that was sent to it, of at most 1000 bytes."""
    app = FastAPI()
    problems.install(app, Metrics())
    bodies = Bodies(max_bytes=10_000, seconds=10)

    @app.post("/")
    async def length(request: Request) -> int:
        with bodies.arrival() as arrival:
            return len(await read_body(request, arrival, accepts="image/*", max_bytes=1000))

    return TestClient(app)


@pytest.mark.parametrize("declared", ["image/png", "IMAGE/JPEG; q=1", "application/octet-stream", ""])
def test_raw_bodies(echo: TestClient, declared: str) -> None:
    assert echo.post("/", content=bytes(1000), headers={"Content-Type": declared}).json() == 1000


def test_multipart_bodies(echo: TestClient) -> None:
    assert echo.post("/", files={"file": ("a.png", bytes(500))}, data={"other": "field"}).json() == 500


def chunks(number: int) -> Iterable[bytes]:
    return (bytes(100) for _ in range(number))


def test_bodies_in_chunks(echo: TestClient) -> None:
    assert echo.post("/", content=chunks(10), headers={"Content-Type": "image/png"}).json() == 1000


def test_too_much_is_refused_however_it_is_sent(echo: TestClient) -> None:
    answers = [
        echo.post("/", content=bytes(1001), headers={"Content-Type": "image/png"}),
        echo.post("/", content=chunks(11), headers={"Content-Type": "image/png"}),
        echo.post("/", files={"file": ("a.png", bytes(1001))}),
    ]

    assert [answer.status_code for answer in answers] == [413, 413, 413]
    assert {answer.json()["type"] for answer in answers} == {"urn:problem-type:ziggurat:body-too-large"}


@pytest.mark.parametrize(
    ("declared", "body", "status"),
    [
        ("text/html", b"", 415),
        ("application/x-www-form-urlencoded", b"", 415),
        ("image/vnd.ziggurat", b"", 415),
        ("multipart/form-data", b"", 422),
        ("multipart/form-data; boundary=x", b"nonsense", 422),
        (
            "multipart/form-data; boundary=x",
            b'--x\r\nContent-Disposition: form-data; name="file"\r\n\r\nno file\r\n--x--\r\n',
            422,
        ),
        ("image/png", b"", 422),
        ("application/json" + "x" * 2000, b"", 415),
    ],
)
def test_other_bodies_are_refused(echo: TestClient, declared: str, body: bytes, status: int) -> None:
    assert echo.post("/", content=body, headers={"Content-Type": declared}).status_code == status


def digest(body: bytes, algorithm: str = "sha-256") -> str:
    return f"{algorithm}=:{b64encode(hashlib.new(algorithm.replace('-', ''), body).digest()).decode()}:"


@pytest.mark.parametrize(
    ("promised", "status"),
    [
        (digest(b"body"), 200),
        (digest(b"body", "sha-512"), 200),
        (f"{digest(b'body')}, {digest(b'body', 'sha-512')}", 200),
        ("md5=:AAAA:, nonsense", 200),  # nothing that we could check
        (digest(b"other"), 422),
        (f"{digest(b'body')}, {digest(b'other', 'sha-512')}", 422),
        ("sha-256=:AAAA:", 422),
        ("sha-256=:A:", 422),
    ],
)
def test_a_body_must_be_what_its_digest_says(echo: TestClient, promised: str, status: int) -> None:
    answer = echo.post(
        "/", content=b"body", headers={"Content-Type": "image/png", "Content-Digest": promised}
    )

    assert answer.status_code == status
    assert status == 200 or answer.json()["type"] == "urn:problem-type:ziggurat:digest-mismatch"


def test_an_empty_body_is_told_so(echo: TestClient) -> None:
    answer = echo.post("/", content=b"", headers={"Content-Type": "image/png"})

    assert "empty" in answer.json()["detail"]


@pytest.mark.parametrize("declared", ["image/png", "multipart/form-data; boundary=x"])
def test_an_encoded_body_is_refused_by_the_name_of_its_encoding(echo: TestClient, declared: str) -> None:
    encoded = {"Content-Type": declared, "Content-Encoding": "gzip"}
    plain = {"Content-Type": "image/png", "Content-Encoding": "identity"}
    answer = echo.post("/", content=b"body", headers=encoded)

    assert (answer.status_code, answer.json()["type"]) == (415, "urn:problem-type:ziggurat:unsupported-body")
    assert "gzip" in answer.json()["detail"]
    assert echo.post("/", content=b"body", headers=plain).status_code == 200


def test_all_lines_of_a_digest_count(echo: TestClient) -> None:
    lines = [
        ("Content-Type", "image/png"),
        ("Content-Digest", digest(b"body")),
        ("Content-Digest", digest(b"other", "sha-512")),
    ]
    assert echo.post("/", content=b"body", headers=lines).status_code == 422
