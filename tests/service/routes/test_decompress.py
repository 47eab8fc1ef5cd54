from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from models.bitstream import Bitstream, CodecKind
from models.codec import Codec
from models.learned.codec import LearnedCodec
from models.postprocess import model as post_model
from models.postprocess.postprocessor import Postprocess
from models.rate_control import Position


@pytest.fixture(scope="module")
def stream(client: TestClient, jpeg: bytes) -> bytes:
    return client.post("/compress?bpp=1", content=jpeg, headers={"Content-Type": "image/jpeg"}).content


@pytest.fixture(scope="module")
def url(client: TestClient, jpeg: bytes, stream: bytes) -> str:
    """Path of the stored stream's picture."""
    return client.post("/compress?bpp=1", content=jpeg, headers={"Content-Type": "image/jpeg"}).headers[
        "location"
    ]


def test_the_png_is_exactly_what_the_codec_decodes(
    client: TestClient, codec: LearnedCodec, url: str, stream: bytes
) -> None:
    answer = client.get(url)

    assert answer.headers["content-type"] == "image/png"
    assert "immutable" in answer.headers["cache-control"]
    np.testing.assert_array_equal(
        np.asarray(Image.open(io.BytesIO(answer.content))), np.asarray(Codec(codec).decompress(stream))
    )


@pytest.mark.parametrize("image_format", ["png", "webp", "avif", "jpeg"])
def test_accept_and_format_choose_alike(client: TestClient, url: str, image_format: str) -> None:
    by_accept = client.get(url, headers={"Accept": f"image/{image_format}"})
    by_format = client.get(f"{url}?format={image_format}", headers={"Accept": "text/html"})

    assert by_accept.headers["content-type"] == by_format.headers["content-type"] == f"image/{image_format}"
    assert by_accept.content == by_format.content
    assert Image.open(io.BytesIO(by_accept.content)).size == (128, 96)


def test_a_picture_too_large_for_a_format_is_given_in_the_next_best(client: TestClient) -> None:
    file = io.BytesIO()
    Image.new("RGB", (16_384, 2), (200, 60, 60)).save(file, "PNG")
    long = client.post("/compress?bpp=1", content=file.getvalue(), headers={"Content-Type": "image/png"})
    url = long.headers["location"]

    other = client.get(url, headers={"Accept": "image/webp, image/jpeg;q=0.5"})
    probed = client.head(url, headers={"Accept": "image/webp, image/jpeg;q=0.5"})
    none = [client.get(url, headers={"Accept": "image/webp"}), client.get(f"{url}?format=webp")]

    assert (other.status_code, other.headers["content-type"]) == (200, "image/jpeg")
    assert Image.open(io.BytesIO(other.content)).size == (16_384, 2)
    assert probed.headers["content-type"] == "image/jpeg"
    assert client.head(url, headers={"Accept": "image/webp"}).status_code == 422
    for answer in none:
        assert answer.status_code == 422
        assert answer.json()["type"] == "urn:problem-type:ziggurat:format-limit"
        assert "16383" in answer.json()["detail"]


def test_a_client_that_has_it_gets_304(client: TestClient, url: str) -> None:
    etag = client.get(url).headers["etag"]
    again = client.get(url, headers={"If-None-Match": etag})
    other_format = client.get(f"{url}?format=webp", headers={"If-None-Match": etag})

    assert (again.status_code, again.content) == (304, b"")
    assert other_format.status_code == 200


def test_head_is_get_without_the_work(client: TestClient, url: str) -> None:
    head = client.head(url)
    get = client.get(url)

    assert (head.status_code, head.content) == (200, b"")
    for header in ("etag", "cache-control", "content-type", "vary"):
        assert head.headers[header] == get.headers[header]
    assert client.head(url, headers={"If-None-Match": get.headers["etag"]}).status_code == 304


@pytest.mark.parametrize("multipart", [True, False])
def test_a_stream_can_be_sent_along(client: TestClient, url: str, stream: bytes, multipart: bool) -> None:
    if multipart:
        answer = client.post("/decompress", files={"file": ("photo.zgt", stream)})
    else:
        answer = client.post("/decompress", content=stream, headers={"Content-Type": "image/vnd.ziggurat"})

    assert answer.status_code == 200
    assert answer.content == client.get(url).content


@pytest.mark.parametrize("codec_name", ["learned", "hybrid"])
def test_post_processing_is_as_the_stream_recommends_unless_one_says_otherwise(
    client: TestClient, jpeg: bytes, codec_name: str
) -> None:
    made = client.post(
        f"/compress?quality=20&profile=psnr&codec={codec_name}",
        content=jpeg,
        headers={"Content-Type": "image/jpeg"},
    )
    url = made.headers["location"]
    codec = Codec.load("psnr")
    modes: tuple[Postprocess, ...] = ("auto", "on", "off")
    answers = {mode: client.get(url, params={"postprocess": mode}) for mode in modes}

    for mode, answer in answers.items():
        shown = np.asarray(Image.open(io.BytesIO(answer.content)))
        np.testing.assert_array_equal(shown, np.asarray(codec.decompress(made.content, postprocess=mode)))
    name = "psnr" if codec_name == "learned" else "files"
    named = f"{name}/{post_model.card(name).model_id}"
    assert [answer.headers["ziggurat-postprocess"] for answer in answers.values()] == [named, named, "off"]
    assert (
        client.get(url).content == answers["auto"].content == answers["on"].content != answers["off"].content
    )
    assert len({answer.headers["etag"] for answer in answers.values()}) == 3
    sent = client.post(
        "/decompress?postprocess=off", content=made.content, headers={"Content-Type": "image/vnd.ziggurat"}
    )
    assert sent.content == answers["off"].content
    assert (
        client.get(f"{made.headers['location'].replace('decompress', 'bitstreams')}/info").json()[
            "postprocess"
        ]
        is True
    )


def test_post_processing_that_cannot_be_is_a_problem_only_when_asked_for(
    client: TestClient, jpeg: bytes
) -> None:
    for query in ("quality=90&profile=psnr", "quality=20&profile=ms-ssim", "quality=100&codec=hybrid"):
        url = client.post(f"/compress?{query}", content=jpeg, headers={"Content-Type": "image/jpeg"}).headers[
            "location"
        ]
        refused = client.get(f"{url}?postprocess=on")
        assert (refused.status_code, refused.json()["type"]) == (
            422,
            "urn:problem-type:ziggurat:unsuitable-source",
        )
        assert client.get(url).headers["ziggurat-postprocess"] == "off"
    assert client.get(f"{url}?postprocess=perhaps").status_code == 422


def test_bad_streams_are_told_apart(client: TestClient, stream: bytes) -> None:
    parsed = Bitstream.parse(stream)
    foreign = Bitstream(parsed.codec, b"\0\1\2\3", 8, 8, Position(0), False, False, b"", b"", None)
    large = Bitstream(parsed.codec, parsed.model_id, 1001, 1000, Position(0), False, False, b"", b"", None)
    bodies = {
        "not-a-stream": b"\x89PNG and so on",
        "newer-stream": b"ZGT\x09" + stream[4:],
        "truncated-stream": stream[:-10],
        "damaged-stream": stream[:-10] + bytes([stream[-10] ^ 1]) + stream[-9:],
        "unknown-model": foreign.to_bytes(),
        "stream-too-large": large.to_bytes(),
    }

    answers = {
        name: client.post("/decompress", content=body, headers={"Content-Type": ""})
        for name, body in bodies.items()
    }

    assert {name: answer.json()["type"].rpartition(":")[2] for name, answer in answers.items()} == {
        name: name for name in bodies
    }
    assert {answer.status_code for answer in answers.values()} == {422}
    assert answers["unknown-model"].json()["model_id"] == "00010203"


def test_unknown_ids_and_unwanted_types(client: TestClient, url: str) -> None:
    assert client.get(f"/decompress/{'0' * 64}").status_code == 404
    assert client.head("/decompress/nonsense").status_code == 404
    assert client.get(f"/decompress/{'0' * 64}", headers={"If-None-Match": "*"}).status_code == 404
    assert client.get(url, headers={"Accept": "text/html"}).status_code == 406
    assert client.get(f"{url}?format=gif").status_code == 422
    assert client.post("/decompress", content=b"", headers={"Content-Type": "image/png"}).status_code == 415


def test_hostile_hybrid_streams_are_typed_problems(client: TestClient, jpeg: bytes) -> None:
    stream = client.post(
        "/compress?bpp=1&codec=hybrid", content=jpeg, headers={"Content-Type": "image/jpeg"}
    ).content
    header = Bitstream.parse(stream)
    hostile = {
        "stream-too-large": replace(header, width=16384, height=16384),
        "damaged-stream": replace(header, y=b"\xff" + header.y[1:]),
        "unknown-model": replace(header, model_id=b"none"),
    }
    streams = {name: bad.to_bytes() for name, bad in hostile.items()} | {"truncated-stream": stream[:-100]}
    answers = {
        name: client.post("/decompress", content=body, headers={"Content-Type": "image/vnd.ziggurat"})
        for name, body in streams.items()
    }

    assert {name: answer.json()["type"].rpartition(":")[2] for name, answer in answers.items()} == {
        name: name for name in streams
    }
    assert {answer.status_code for answer in answers.values()} == {422}


def test_a_hybrid_stream_that_says_learned_and_the_other_way_round(client: TestClient, jpeg: bytes) -> None:
    for codec, other in (("hybrid", CodecKind.LEARNED), ("learned", CodecKind.HYBRID)):
        stream = client.post(
            f"/compress?bpp=1&codec={codec}", content=jpeg, headers={"Content-Type": "image/jpeg"}
        ).content
        swapped = replace(Bitstream.parse(stream), codec=other, z=b"").to_bytes()
        answer = client.post("/decompress", content=swapped, headers={"Content-Type": "image/vnd.ziggurat"})
        assert (answer.status_code, answer.json()["type"]) == (422, "urn:problem-type:ziggurat:unknown-model")
