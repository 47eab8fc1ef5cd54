"""Content negotiation and validators: Accept, ETag, If-None-Match (RFC 9110), Content-Digest (RFC 9530)."""

from __future__ import annotations

import base64
from collections.abc import Sequence

STREAM_TYPE = "image/vnd.ziggurat"


class NotAcceptableError(Exception):
    """None of the media types asked for can be given."""


def negotiate(accept: str, offers: Sequence[str]) -> str:
    """The offered media type that Accept prefers; among equals the first offered. Raises `NotAcceptableError`."""
    ranges = [_media_range(part) for part in accept.split(",") if part.strip()]
    if not ranges:
        return offers[0]
    best = max(offers, key=lambda offer: _weight(offer, ranges))  # max keeps the first of equals
    if _weight(best, ranges) == 0:
        raise NotAcceptableError(f"none of {accept[:200]} can be given; this gives {', '.join(offers)}")
    return best


def matches_etag(if_none_match: str | None, etag: str) -> bool:
    """Whether If-None-Match names this ETag, compared weakly."""
    if if_none_match is None:
        return False
    named = {part.strip().removeprefix("W/") for part in if_none_match.split(",")}
    return "*" in named or etag.removeprefix("W/") in named


def immutable(etag: str) -> dict[str, str]:
    """Headers of what never changes under its address."""
    return {"ETag": etag, "Cache-Control": "public, max-age=31536000, immutable"}


def content_digest(sha256: bytes) -> str:
    """The value of Content-Digest for a body with this SHA-256."""
    return f"sha-256=:{base64.b64encode(sha256).decode()}:"


def _media_range(part: str) -> tuple[str, float]:
    media_range, *parameters = (piece.strip().lower() for piece in part.split(";"))
    quality = next((value[2:] for value in parameters if value.startswith("q=")), "1")
    try:
        return media_range, min(1.0, max(0.0, float(quality)))
    except ValueError:
        return media_range, 0.0


def _weight(offer: str, ranges: Sequence[tuple[str, float]]) -> float:
    """The quality of the most specific range that covers the offer; 0 when none does."""
    for pattern in (offer, offer.partition("/")[0] + "/*", "*/*"):
        for media_range, quality in ranges:
            if media_range == pattern:
                return quality
    return 0.0
