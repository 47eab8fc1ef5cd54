"""Headers about content: Accept, ETag, If-None-Match, Range (RFC 9110); Content-Digest (RFC 9530).

They are parsed and written here; endpoints decide what to answer.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence

from starlette.datastructures import Headers

STREAM_TYPE = "image/vnd.ziggurat"

_RANGE = re.compile(r"bytes=[ \t]*(\d{0,19})-(\d{0,19})[ \t]*", re.ASCII | re.IGNORECASE)
_MAX_LIST = 200  # members of a header that are looked at


class NotAcceptableError(Exception):
    """None of the media types asked for can be given."""


class RangeNotSatisfiableError(Exception):
    """The range asked for lies outside of the content, which has `size` bytes."""

    def __init__(self, size: int) -> None:
        super().__init__(f"the range lies outside of the {size} bytes there are")
        self.size = size


def combined(headers: Headers, name: str) -> str | None:
    """Return the value of a header that is a list: all its lines count as one (RFC 9110, 5.3)."""
    lines = headers.getlist(name)
    return ", ".join(lines) if lines else None


def negotiate(accept: str | None, offers: Sequence[str]) -> str:
    """Return the offered media type that Accept prefers; among equals the first offered.

    Raises:
        NotAcceptableError: it rules out all of them.
    """
    accept = accept or ""
    ranges = [_media_range(part) for part in accept.split(",", _MAX_LIST)[:_MAX_LIST] if part.strip()]
    if not ranges:
        return offers[0]
    best = max(offers, key=lambda offer: _weight(offer, ranges))  # max keeps the first of equals
    if _weight(best, ranges) == 0:
        raise NotAcceptableError(f"none of {accept[:200]} can be given; this gives {', '.join(offers)}")
    return best


def matches_etag(if_none_match: str | None, etag: str) -> bool:
    """Say whether If-None-Match names this ETag, compared weakly."""
    if if_none_match is None:
        return False
    named = {part.strip().removeprefix("W/") for part in if_none_match.split(",")}
    return "*" in named or etag.removeprefix("W/") in named


def byte_range(header: str | None, size: int) -> range | None:
    """Return the range of bytes that a Range header asks for, cut to the content's `size` in bytes.

    None is for all of it: several ranges, other units and what cannot be parsed are ignored, as
    RFC 9110 allows.

    Raises:
        RangeNotSatisfiableError: the range is empty once cut.
    """
    found = _RANGE.fullmatch(header or "")
    if found is None or not any(found.groups()):
        return None
    first, last = found.groups()
    if first:
        wanted = range(int(first), min(int(last) + 1, size) if last else size)
        if last and int(last) < int(first):
            return None
    else:
        wanted = range(max(size - int(last), 0), size)  # the last so many bytes
    if not wanted:
        raise RangeNotSatisfiableError(size)
    return wanted


def immutable(etag: str, *, private: bool) -> dict[str, str]:
    """Return the headers of content that never changes under its address.

    `private` is for what not everybody may have: no cache that several people share may keep it.
    """
    scope = "private" if private else "public"
    return {"ETag": etag, "Cache-Control": f"{scope}, max-age=31536000, immutable"}


def content_digest(sha256: bytes) -> str:
    """Return the value of Content-Digest for a body with this SHA-256, 32 bytes."""
    return f"sha-256=:{base64.b64encode(sha256).decode()}:"


def _media_range(part: str) -> tuple[str, float]:
    """Parse one part of Accept to its media range and its weight (q, 0 to 1)."""
    media_range, *parameters = (piece.strip().lower() for piece in part.split(";"))
    weight = next((value[2:] for value in parameters if value.startswith("q=")), "1")
    try:
        return media_range, min(1.0, max(0.0, float(weight)))
    except ValueError:
        return media_range, 0.0


def _weight(offer: str, ranges: Sequence[tuple[str, float]]) -> float:
    """Return the weight (q, 0 to 1) of the most specific range that covers the offer, or 0."""
    for pattern in (offer, offer.partition("/")[0] + "/*", "*/*"):
        for media_range, weight in ranges:
            if media_range == pattern:
                return weight
    return 0.0
