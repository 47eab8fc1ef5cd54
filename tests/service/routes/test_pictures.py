from __future__ import annotations

import pytest
from fastapi import Request
from fastapi.testclient import TestClient

from service.engine.results import PictureFile
from service.engine.timings import Timings
from service.http.negotiation import NotAcceptableError
from service.images import ImageFormat
from service.routes.pictures import in_turn, named, picture_answer, wanted
from tests.post import tiny_post_processor


def request(accept: str = "") -> Request:
    return Request({"type": "http", "headers": [(b"accept", accept.encode())]})


@pytest.mark.parametrize(
    ("accept", "format", "expected"),
    [
        ("", None, ImageFormat.PNG),
        ("*/*", None, ImageFormat.PNG),
        ("image/webp", None, ImageFormat.WEBP),
        ("image/avif;q=0.5, image/jpeg", None, ImageFormat.JPEG),
        ("image/webp", "avif", ImageFormat.AVIF),
    ],
)
def test_a_format_by_name_goes_before_accept(accept: str, format: str | None, expected: ImageFormat) -> None:
    assert wanted(request(accept), format) is expected


@pytest.mark.parametrize(
    ("accept", "format", "expected"),
    [
        ("image/webp, image/avif;q=0.5", None, [ImageFormat.WEBP, ImageFormat.AVIF]),
        ("image/webp", None, [ImageFormat.WEBP]),
        ("image/avif, image/webp", "webp", [ImageFormat.WEBP]),
        ("", None, [ImageFormat.PNG, ImageFormat.WEBP, ImageFormat.AVIF, ImageFormat.JPEG]),
        (
            "image/webp, */*;q=0.1, image/jpeg;q=0",
            None,
            [ImageFormat.WEBP, ImageFormat.PNG, ImageFormat.AVIF],
        ),
    ],
)
def test_formats_come_in_the_order_of_the_clients_wishes(
    accept: str, format: str | None, expected: list[ImageFormat]
) -> None:
    assert list(in_turn(request(accept), format)) == expected


def test_a_format_that_cannot_be_given_is_refused() -> None:
    with pytest.raises(NotAcceptableError):
        wanted(request("text/html"), None)


def test_an_answer_carries_its_digest_and_where_the_time_went(client: TestClient) -> None:
    timings = Timings()
    timings.add("encode", 0.25)
    made = PictureFile(b"a file", bytes(range(32)), None, timings, ImageFormat.WEBP)

    runtime = client.app.state.runtime  # type: ignore[attr-defined]
    answer = picture_answer(runtime, made)

    assert (answer.body, answer.media_type) == (b"a file", "image/webp")
    assert answer.headers["content-digest"] == "sha-256=:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=:"
    assert (answer.headers["vary"], answer.headers["server-timing"]) == ("Accept", "encode;dur=250.0")


def test_a_post_processor_is_named_with_its_id() -> None:
    post_processor = tiny_post_processor()

    assert named(post_processor) == f"tiny/{post_processor.model_id}"


def test_jpg_is_jpeg(client: TestClient, jpeg: bytes) -> None:
    made = client.post("/compress?bpp=1", content=jpeg, headers={"Content-Type": "image/jpeg"})
    answer = client.get(f"{made.headers['location']}?format=jpg")

    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/jpeg")
