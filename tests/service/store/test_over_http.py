"""Answers of the running app while its store fails."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from service.app import create_app
from service.ids import id_of
from service.settings import Settings

from .conftest import Proxy


@pytest.fixture
def client(bucket: str) -> Iterator[TestClient]:
    with TestClient(
        create_app(
            Settings(store=bucket, store_timeout_seconds=1, models=("psnr",), profile="psnr", threads=1)
        )
    ) as client:
        yield client


def test_a_dead_bucket_is_503_and_only_for_what_needs_it(
    client: TestClient, proxy: Proxy, jpeg: bytes
) -> None:
    made = client.post("/compress?bpp=1", content=jpeg)
    address = made.headers["location"]
    assert made.status_code == 201

    proxy.fail("refuses")
    for answer in (
        client.post("/compress?bpp=0.9", content=jpeg),
        client.get(address),
        client.get(f"/bitstreams/{id_of(made.content)}"),
    ):
        assert answer.status_code == 503
        assert answer.json()["type"] == "urn:problem-type:ziggurat:store-unavailable"
        assert int(answer.headers["retry-after"]) > 0
    assert client.post("/decompress", content=made.content).status_code == 200
    assert [client.get(path).status_code for path in ("/livez", "/readyz")] == [200, 200]

    assert 'ziggurat_store_errors_total{operation="put"} 1.0' in client.get("/metrics").text

    proxy.fault = None
    assert client.get(address).status_code == 200
    assert client.get(f"/bitstreams/{id_of(made.content)}").content == made.content


def test_a_full_store_is_507_and_damage_is_500(tmp_path: Path, jpeg: bytes) -> None:
    settings = Settings(
        store=str(tmp_path), store_max_bytes=1200, models=("psnr",), profile="psnr", threads=1
    )

    with TestClient(create_app(settings)) as client:
        made = client.post("/compress?max_bytes=900", content=jpeg)
        full = client.post("/compress?max_bytes=800", content=jpeg)
        path = tmp_path / id_of(made.content)[:2] / f"{id_of(made.content)}.zgt"
        path.write_bytes(path.read_bytes()[:-1] + b"?")
        damaged = [client.get(f"{place}/{id_of(made.content)}") for place in ("/bitstreams", "/decompress")]
        probed = client.head(f"/bitstreams/{id_of(made.content)}")
        healed = client.post("/compress?max_bytes=900", content=jpeg)
        back = client.get(f"/bitstreams/{id_of(made.content)}")
        metrics = client.get("/metrics").text

    assert (made.status_code, full.status_code, healed.status_code) == (201, 507, 201)
    assert full.json()["type"] == "urn:problem-type:ziggurat:store-full"
    assert 1 <= int(full.headers["retry-after"]) <= 60
    assert probed.status_code == 500
    for answer in damaged:
        assert answer.status_code == 500
        assert answer.json()["type"] == "urn:problem-type:ziggurat:damaged-in-store"
        assert "immutable" not in answer.headers.get("cache-control", "")
    assert back.content == made.content
    assert f"ziggurat_store_bytes {len(made.content)}.0\n" in metrics
    assert "ziggurat_store_max_bytes 1200.0\n" in metrics
