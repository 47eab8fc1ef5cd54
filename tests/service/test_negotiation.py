from __future__ import annotations

import pytest

from service.negotiation import NotAcceptableError, content_digest, matches_etag, negotiate

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
