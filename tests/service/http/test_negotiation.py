from __future__ import annotations

import pytest
from starlette.datastructures import Headers

from service.http.negotiation import (
    NotAcceptableError,
    RangeNotSatisfiableError,
    byte_range,
    combined,
    content_digest,
    immutable,
    matches_etag,
    negotiate,
)

OFFERS = ("image/png", "image/webp", "image/avif")


@pytest.mark.parametrize(
    ("accept", "given"),
    [
        ("", "image/png"),
        ("*/*", "image/png"),
        ("image/*", "image/png"),
        ("image/webp", "image/webp"),
        ("IMAGE/WebP", "image/webp"),
        ("image/avif,image/webp,image/apng,image/*,*/*;q=0.8", "image/png"),
        ("image/avif,image/webp,*/*;q=0.8", "image/webp"),
        ("image/avif;q=0.9, image/webp;q=0.5", "image/avif"),
        ("image/png;q=0, */*", "image/webp"),
        ("text/html, image/avif;q=0.1", "image/avif"),
        ("image/png;q=nonsense, image/webp;q=0.1", "image/webp"),
    ],
)
def test_the_preferred_type_is_given(accept: str, given: str) -> None:
    assert negotiate(accept, OFFERS) == given


@pytest.mark.parametrize("accept", ["text/html", "image/gif", "*/*;q=0", "nonsense"])
def test_what_cannot_be_given_is_refused(accept: str) -> None:
    with pytest.raises(NotAcceptableError, match="image/png"):
        negotiate(accept, OFFERS)


@pytest.mark.parametrize("header", ['"abc"', 'W/"abc"', '"x", W/"abc"', "*"])
def test_etags_are_compared_weakly(header: str) -> None:
    assert matches_etag(header, '"abc"')
    assert matches_etag(header, 'W/"abc"')


@pytest.mark.parametrize("header", [None, "", "abc", '"abcd"'])
def test_other_etags_do_not_match(header: str | None) -> None:
    assert not matches_etag(header, '"abc"')


def test_content_digest_is_spelt_as_in_rfc_9530() -> None:
    digest = bytes.fromhex("5f8f04f6a3a892aaabbddb6cf273894493773960d4a325b105fee46eef4304f1")

    assert content_digest(digest) == "sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:"


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("bytes=0-9", range(10)),
        ("bytes=0-0", range(1)),
        ("bytes=90-", range(90, 100)),
        ("bytes=90-1000", range(90, 100)),
        ("bytes=-10", range(90, 100)),
        ("bytes=-1000", range(100)),
        ("Bytes= 5-6 ", range(5, 7)),
        (None, None),
        ("", None),
        ("bytes=", None),
        ("bytes=-", None),
        ("bytes=9-5", None),
        ("bytes=0-1,5-6", None),
        ("pages=1-2", None),
        ("bytes=a-b", None),
    ],
)
def test_a_single_range_is_cut_to_the_content_and_the_rest_ignored(
    header: str | None, expected: range | None
) -> None:
    assert byte_range(header, 100) == expected


@pytest.mark.parametrize("header", ["bytes=100-", "bytes=100-200", "bytes=-0"])
def test_a_range_outside_of_the_content_cannot_be_given(header: str) -> None:
    with pytest.raises(RangeNotSatisfiableError):
        byte_range(header, 100)


def test_all_lines_of_a_list_count() -> None:
    headers = Headers(raw=[(b"accept", b"text/html"), (b"x", b"y"), (b"accept", b"image/webp;q=0.5")])

    assert negotiate(combined(headers, "accept"), OFFERS) == "image/webp"
    assert combined(headers, "if-none-match") is None


def test_a_list_without_end_is_not_read_to_its_end() -> None:
    with pytest.raises(NotAcceptableError):
        negotiate("a/b," * 16_000 + "image/png", OFFERS)


def test_what_needs_a_key_is_kept_by_no_cache_that_people_share() -> None:
    kept = [immutable('"abc"', private=private)["Cache-Control"] for private in (True, False)]

    assert kept == ["private, max-age=31536000, immutable", "public, max-age=31536000, immutable"]
