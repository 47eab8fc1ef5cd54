from __future__ import annotations

import random
from collections.abc import Callable
from hashlib import sha256
from http.client import IncompleteRead
from pathlib import Path
from urllib.request import urlopen

import pytest
from fastapi.testclient import TestClient

from models.bitstream import PLAIN_VERSION
from models.hybrid.codec import HybridCodec
from service.http.negotiation import content_digest
from service.ids import id_of
from service.settings import Settings
from tests.service.conftest import Live


@pytest.fixture(scope="module")
def stream(client: TestClient, jpeg: bytes) -> bytes:
    return client.post("/compress?bpp=0.9", content=jpeg, headers={"Content-Type": "image/jpeg"}).content


def test_the_stored_stream_is_the_one_that_was_answered(client: TestClient, stream: bytes) -> None:
    answer = client.get(f"/bitstreams/{id_of(stream)}")

    assert answer.content == stream
    assert answer.headers["content-type"] == "image/vnd.ziggurat"
    assert answer.headers["etag"] == f'"{id_of(stream)}"'
    assert "immutable" in answer.headers["cache-control"]


def test_head_tells_the_length(client: TestClient, stream: bytes) -> None:
    head = client.head(f"/bitstreams/{id_of(stream)}")

    assert (head.content, head.headers["content-length"]) == (b"", str(len(stream)))
    assert (
        head.headers["content-digest"] == client.get(f"/bitstreams/{id_of(stream)}").headers["content-digest"]
    )


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_client_that_has_it_gets_304(client: TestClient, stream: bytes, method: str) -> None:
    answer = client.request(
        method, f"/bitstreams/{id_of(stream)}", headers={"If-None-Match": f'"{id_of(stream)}"'}
    )

    assert (answer.status_code, answer.content) == (304, b"")


def test_info_reads_the_header(client: TestClient, stream: bytes) -> None:
    facts = client.get(f"/bitstreams/{id_of(stream)}/info").json()

    assert facts["id"] == id_of(stream)
    assert (facts["width"], facts["height"], facts["bytes"]) == (128, 96, len(stream))
    assert facts["bpp"] == pytest.approx(8 * len(stream) / (128 * 96), abs=1e-6)
    assert (facts["codec"], facts["format_version"], facts["profile"], facts["greyscale"]) == (
        "learned",
        PLAIN_VERSION,
        "visual",
        False,
    )
    assert facts["alpha_bytes"] is None
    assert 0 < facts["z_bytes"] + facts["y_bytes"] < len(stream)
    assert 0 <= facts["quality"] <= 100


def test_info_of_a_hybrid_stream_needs_no_model_either(client: TestClient, jpeg: bytes) -> None:
    stream = client.post(
        "/compress?bpp=0.9&codec=hybrid", content=jpeg, headers={"Content-Type": "image/jpeg"}
    ).content
    facts = client.get(f"/bitstreams/{id_of(stream)}/info").json()

    assert (facts["codec"], facts["profile"], facts["model_id"]) == ("hybrid", "avif", HybridCodec.model_id)
    assert (facts["z_bytes"], facts["y_bytes"]) == (0, len(stream) - 23)


def test_deleting_forgets(client: TestClient, jpeg: bytes) -> None:
    stream = client.post("/compress?bpp=0.11", content=jpeg, headers={"Content-Type": "image/jpeg"}).content
    address = f"/bitstreams/{id_of(stream)}"

    assert client.delete(address).status_code == 204
    assert [client.request(method, address).status_code for method in ("GET", "HEAD", "DELETE")] == [
        404,
        404,
        404,
    ]
    assert client.get(f"{address}/info").json()["type"] == "urn:problem-type:ziggurat:unknown-id"


@pytest.mark.parametrize(
    ("header", "first", "last"), [("bytes=0-27", 0, 27), ("bytes=100-", 100, -1), ("bytes=-4", -4, -1)]
)
def test_a_part_of_the_stream(client: TestClient, stream: bytes, header: str, first: int, last: int) -> None:
    address = f"/bitstreams/{id_of(stream)}"
    answer = client.get(address, headers={"Range": header})

    size = len(stream)
    assert answer.status_code == 206
    assert answer.content == stream[first % size : last % size + 1]
    assert answer.headers["content-range"] == f"bytes {first % size}-{last % size}/{size}"
    assert answer.headers["content-type"] == "image/vnd.ziggurat"
    assert answer.headers["repr-digest"] == client.head(address).headers["content-digest"]
    assert answer.headers["etag"] == f'"{id_of(stream)}"'


def test_parts_are_offered_and_what_cannot_be_given_is_refused(client: TestClient, stream: bytes) -> None:
    address = f"/bitstreams/{id_of(stream)}"
    whole = client.get(address)
    outside = client.get(address, headers={"Range": "bytes=1000000-"})

    assert whole.headers["accept-ranges"] == "bytes"
    assert (outside.status_code, outside.headers["content-range"]) == (416, f"bytes */{len(stream)}")
    assert outside.json()["type"] == "urn:problem-type:ziggurat:range-not-satisfiable"
    assert client.get(f"/bitstreams/{'0' * 64}", headers={"Range": "bytes=0-1"}).status_code == 404


def test_conditions_go_before_ranges(client: TestClient, stream: bytes) -> None:
    address = f"/bitstreams/{id_of(stream)}"
    etag = f'"{id_of(stream)}"'
    statuses = [
        client.get(address, headers={"Range": "bytes=0-1"} | condition).status_code
        for condition in (
            {"If-Range": etag},
            {"If-Range": '"other"'},
            {"If-Range": f"W/{etag}"},
            {"If-None-Match": etag},
        )
    ]
    assert statuses == [206, 200, 200, 304]


@pytest.fixture(scope="module")
def large(client: TestClient) -> bytes:
    """Store bytes longer than a piece; they need not be a stream of ours to be sent."""
    content = random.Random(1).randbytes(1_000_000)
    assert client.portal is not None
    client.portal.call(client.app.state.runtime.store.put, content)  # type: ignore[attr-defined]
    return content


@pytest.mark.parametrize(
    ("header", "first", "last"),
    [
        ("", 0, 999_999),
        ("bytes=0-0", 0, 0),
        ("bytes=262143-262144", 262_143, 262_144),
        ("bytes=-600000", 400_000, -1),
    ],
)
def test_a_large_stream_is_sent_in_pieces(
    client: TestClient, large: bytes, header: str, first: int, last: int
) -> None:
    answer = client.get(f"/bitstreams/{id_of(large)}", headers={"Range": header} if header else {})

    part = large[first : last % len(large) + 1]
    assert answer.content == part
    assert answer.headers["content-length"] == str(len(part))
    assert answer.headers["content-digest"] == content_digest(sha256(part).digest())


@pytest.mark.parametrize("header", ["", "bytes=0-27"])
def test_damage_is_told_and_not_sent_whatever_part_is_wanted(
    client: TestClient, settings: Settings, header: str
) -> None:
    for length in (1000, 1_000_000):
        content = random.Random(length).randbytes(length)
        assert client.portal is not None
        client.portal.call(client.app.state.runtime.store.put, content)  # type: ignore[attr-defined]
        stream_id = id_of(content)
        path = Path(settings.store) / stream_id[:2] / f"{stream_id}.zgt"
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        answer = client.get(f"/bitstreams/{stream_id}", headers={"Range": header} if header else {})

        assert (answer.status_code, answer.json()["type"]) == (
            500,
            "urn:problem-type:ziggurat:damaged-in-store",
        )


def test_all_lines_of_if_none_match_count(client: TestClient, stream: bytes) -> None:
    lines = [("If-None-Match", '"other"'), ("If-None-Match", f'"{id_of(stream)}"')]

    assert client.get(f"/bitstreams/{id_of(stream)}", headers=lines).status_code == 304


def test_a_parameter_that_no_endpoint_has_is_refused(client: TestClient, stream: bytes) -> None:
    stream_id = id_of(stream)
    answers = [
        client.get(f"/bitstreams/{stream_id}?fromat=png"),
        client.head(f"/bitstreams/{stream_id}?fromat=png"),
        client.get(f"/bitstreams/{stream_id}/info?fromat=png"),
        client.get(f"/decompress/{stream_id}?fromat=png"),
        client.head(f"/decompress/{stream_id}?fromat=png"),
        client.post("/decompress?fromat=png", content=stream),
        client.get("/models?fromat=png"),
    ]

    assert {answer.status_code for answer in answers} == {422}
    named = [
        answer.json()["detail"].removeprefix("fromat: there is no such parameter; there are ")
        for answer in answers
        if answer.content
    ]
    linked = ["expires", "signature"]  # of signed links
    assert [sorted(names.split(", ")) for names in named] == [
        linked,
        linked,
        sorted([*linked, "format", "postprocess"]),
        ["format", "postprocess"],
        ["none"],
    ]


def test_a_stream_that_leaves_the_store_while_it_is_sent_is_cut_off_without_a_traceback(
    live: Callable[[Settings], Live], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = random.Random(0).randbytes(8_000_000)  # more than sockets hold
    file = tmp_path / id_of(data)[:2] / f"{id_of(data)}.zgt"
    file.parent.mkdir()
    file.write_bytes(data)
    with live(Settings(store=str(tmp_path), models=("psnr",), profile="psnr")) as server:
        with urlopen(f"{server.url}/bitstreams/{id_of(data)}") as answer:
            file.unlink()
            with pytest.raises(IncompleteRead):
                answer.read()
        server.wait_for(lambda: "could not be sent to its end" in caplog.text)

    assert not any(record.exc_info for record in caplog.records)
