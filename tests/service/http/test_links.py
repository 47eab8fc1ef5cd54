from __future__ import annotations

import time
from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

import pytest
from fastapi.testclient import TestClient
from pydantic import SecretStr

from service.app import create_app
from service.http.links import BadLinkError, ExpiredLinkError, Links, LinksOffError
from service.settings import Settings

SECRET, OTHER = SecretStr("s" * 32), SecretStr("t" * 32)
KEYS = {"X-API-Key": "the-only-key-of-ours"}
ID = "0" * 64
SOON = int(time.time()) + 1000


def test_a_link_is_good_for_its_stream_until_its_time() -> None:
    links = Links([SECRET])
    signature = links.sign(ID, SOON)
    links.check(ID, str(SOON), signature)
    Links([SECRET]).check(ID, str(SOON), signature)  # of another process
    for stream_id, expires, made in (
        ("1" * 64, str(SOON), signature),
        (ID, str(SOON + 1), signature),
        (ID, f"0{SOON}", signature),
        (ID, "", signature),
        (ID, str(SOON), signature[:-1]),
        (ID, str(SOON), ""),
        (ID, str(SOON), "schlüssel"),
        (ID, str(SOON), Links([OTHER]).sign(ID, SOON)),
    ):
        with pytest.raises(BadLinkError):
            links.check(stream_id, expires, made)


def test_only_the_right_signature_is_told_that_it_is_late() -> None:
    links = Links([SECRET])
    with pytest.raises(ExpiredLinkError):
        links.check(ID, "1000", links.sign(ID, 1000))
    with pytest.raises(BadLinkError):
        links.check(ID, "1000", links.sign(ID, 1001))


def test_secrets_are_rotated() -> None:
    old = Links([OTHER]).sign(ID, SOON)
    Links([SECRET, OTHER]).check(ID, str(SOON), old)
    assert Links([SECRET, OTHER]).sign(ID, SOON) == Links([SECRET]).sign(ID, SOON) != old
    with pytest.raises(BadLinkError):
        Links([SECRET]).check(ID, str(SOON), old)


def test_without_a_secret_there_are_none() -> None:
    with pytest.raises(LinksOffError, match="ZIGGURAT_LINK_SECRETS"):
        Links([]).sign(ID, SOON)
    with pytest.raises(BadLinkError):
        Links([]).check(ID, str(SOON), "")


@pytest.fixture(scope="module")
def guarded() -> Iterator[TestClient]:
    """A service that wants a key, and signs links."""
    settings = {"store": "memory://", "models": "psnr", "profile": "psnr", "root_path": "/img"}
    keys = {"api_keys": KEYS["X-API-Key"], "link_secrets": f"{SECRET.get_secret_value()},{'t' * 32}"}
    with TestClient(create_app(Settings.model_validate(settings | keys))) as client:
        yield client


def test_a_link_opens_one_stream_to_read(guarded: TestClient, jpeg: bytes) -> None:
    ids = [
        guarded.post(f"/compress?bpp={bpp}", content=jpeg, headers=KEYS).headers["etag"].strip('"')
        for bpp in (0.5, 1)
    ]
    made = guarded.post(f"/bitstreams/{ids[0]}/links?seconds=600", headers=KEYS)
    facts = made.json()
    link = urlsplit(facts["stream_url"])
    query = {name: value[0] for name, value in parse_qs(link.query).items()}

    assert made.status_code == 201
    assert 590 < facts["expires"] - time.time() <= 600
    assert link.path == f"/img/bitstreams/{ids[0]}"
    assert facts["page_url"] == f"/img/#{ids[0]}.{query['expires']}.{query['signature']}"
    opened = [
        guarded.request(method, path, params=query)
        for method in ("GET", "HEAD")
        for path in (f"/bitstreams/{ids[0]}", f"/bitstreams/{ids[0]}/info", f"/decompress/{ids[0]}")
    ]
    assert [answer.status_code for answer in opened] == [200] * 6
    assert all("private" in answer.headers["cache-control"] for answer in opened if "etag" in answer.headers)
    picture = guarded.get(f"/decompress/{ids[0]}", params={**query, "format": "jpeg"})
    assert picture.headers["content-type"] == "image/jpeg"

    for method, path, status, kind in (
        ("GET", f"/bitstreams/{ids[1]}", 403, "bad-link"),
        ("GET", f"/decompress/{ids[1]}", 403, "bad-link"),
        ("DELETE", f"/bitstreams/{ids[0]}", 401, "unauthorized"),
        ("POST", f"/bitstreams/{ids[0]}/links", 401, "unauthorized"),
        ("GET", "/models", 401, "unauthorized"),
    ):
        answer = guarded.request(method, path, params=query)
        assert (answer.status_code, answer.json()["type"].rpartition(":")[2]) == (status, kind)
    late = {"expires": "1000", "signature": Links([SECRET]).sign(ids[0], 1000)}
    assert guarded.get(f"/bitstreams/{ids[0]}", params=late).json()["type"].endswith(":expired-link")
    wrong = guarded.get(f"/bitstreams/{ids[0]}", params=query, headers={"X-API-Key": "not-a-key-of-ours"})
    assert wrong.status_code == 401  # whoever shows a key is taken at it


def test_a_link_to_nothing_is_not_made(guarded: TestClient) -> None:
    assert guarded.post(f"/bitstreams/{ID}/links", headers=KEYS).status_code == 404
    assert guarded.post(f"/bitstreams/{ID}/links?seconds=2592001", headers=KEYS).status_code == 422


def test_without_keys_a_link_is_the_id(client: TestClient, jpeg: bytes) -> None:
    stream_id = client.post("/compress?bpp=0.5", content=jpeg).headers["etag"].strip('"')
    assert client.post(f"/bitstreams/{stream_id}/links").json() == {
        "page_url": f"/#{stream_id}",
        "picture_url": f"/decompress/{stream_id}",
        "stream_url": f"/bitstreams/{stream_id}",
        "expires": None,
    }
    assert client.get(f"/bitstreams/{stream_id}?expires=1&signature=old").status_code == 200
