"""Request bodies: raw, or multipart with `file`; limited in bytes and time, checked by digest.

Starlette's own RequestBodyLimitMiddleware counts bytes in the same way, but answers in plain text
whenever Content-Length is over the limit. Its parser of forms decodes with whatever codec a client
names, and writes files to disk that no limit counts; `multipart` replaces it.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import AsyncGenerator
from contextlib import aclosing

from fastapi import Request

from ..inflight import Arrival
from .multipart import MEDIA_TYPE as _MULTIPART
from .multipart import Form, MalformedBodyError, Upload
from .negotiation import STREAM_TYPE, combined
from .pieces import Pieces

_UNDECLARED = ("", "application/octet-stream")
_DIGEST = re.compile(r"(sha-256|sha-512)=:([A-Za-z0-9+/]*={0,2}):")


class UnsupportedBodyError(Exception):
    """The request's Content-Type or Content-Encoding is not one that the endpoint takes."""


class BodyTooLargeError(Exception):
    """The body is over the byte limit; it was not read further."""


class BodyTimeoutError(Exception):
    """The body came too slowly; it was not waited for any longer."""


class DigestMismatchError(Exception):
    """The body does not have the digest in the request's Content-Digest (RFC 9530)."""


async def read_body(request: Request, arrival: Arrival, *, accepts: str, max_bytes: int) -> bytes:
    """Read the file in a request, raw or as multipart field `file`.

    Args:
        request: its body has not been read.
        arrival: the room for it, and the time in which it must come.
        accepts: a media type or `image/*`. The Content-Type of a raw body must match it, or be
            absent or `application/octet-stream`.
        max_bytes: the most that is read, framing of a multipart body included.

    Raises:
        UnsupportedBodyError: the Content-Type does not match, or the body is encoded.
        BodyTooLargeError: the body has more than `max_bytes`.
        BodyTimeoutError: the body did not arrive in time.
        OverloadedError: bodies of other requests need the room.
        DigestMismatchError: the body is not what Content-Digest promises.
        MalformedBodyError: the body is empty, or multipart and broken or without a `file`.
    """
    declared = _declared(request)
    if declared == _MULTIPART:
        return (await read_files(request, arrival, max_files=1, max_bytes=max_bytes))[0].content
    if declared not in _UNDECLARED and not _fits(declared, accepts):
        raise UnsupportedBodyError(
            f"Content-Type is {declared[:100]}; this takes {accepts}, application/octet-stream or "
            f"{_MULTIPART}"
        )
    pieces = Pieces()
    async with aclosing(_checked(request, arrival, max_bytes)) as chunks:
        with pieces.dropped_on_error():
            async for chunk in chunks:
                pieces.add(chunk)
    return await pieces.joined()


def is_form(request: Request) -> bool:
    """Say whether the request's body is multipart."""
    return _declared(request) == _MULTIPART


async def read_files(request: Request, arrival: Arrival, *, max_files: int, max_bytes: int) -> list[Upload]:
    """Read the files in a multipart body's fields `file`, at least one and at most `max_files`.

    The other arguments and the errors are those of `read_body`.
    """
    form = Form(request.headers["content-type"], max_files=max_files)
    async with aclosing(_checked(request, arrival, max_bytes)) as chunks:
        with form.dropped_on_error():
            async for chunk in chunks:
                form.feed(chunk)
    return [Upload(name, await pieces.joined()) for name, pieces in form.finish()]


def describe_body(media_type: str) -> dict[str, object]:
    """Return OpenAPI's `requestBody` for an endpoint that reads its body with `read_body`."""
    binary = {"type": "string", "format": "binary"}
    form = {"type": "object", "properties": {"file": binary}, "required": ["file"]}
    content = {
        media_type: {"schema": binary},
        "application/octet-stream": {"schema": binary},
        _MULTIPART: {"schema": form},
    }
    return {"requestBody": {"required": True, "content": content}}


def _declared(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def _fits(declared: str, accepts: str) -> bool:
    if accepts.endswith("/*"):
        # Our own streams are image/* too, but never what an endpoint for images wants.
        return declared.startswith(accepts[:-1]) and declared != STREAM_TYPE
    return declared == accepts


async def _checked(request: Request, arrival: Arrival, max_bytes: int) -> AsyncGenerator[bytes, None]:
    """Yield a body's chunks while it keeps to its limits; at its end, compare its digests."""
    encoding = (combined(request.headers, "content-encoding") or "identity").strip().lower()
    if encoding != "identity":
        raise UnsupportedBodyError(f"Content-Encoding is {encoding[:100]}; this takes bodies as they are")
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) > max_bytes:
        raise BodyTooLargeError(f"the body has {length} bytes; the limit is {max_bytes}")
    promised = dict(_DIGEST.findall(combined(request.headers, "content-digest") or ""))
    hashes = {name: hashlib.new(name.replace("-", "")) for name in promised}
    stream = request.stream()
    received = 0
    while True:
        try:
            with arrival.waiting() as limit:
                async with limit:
                    chunk = await anext(stream, None)
        except TimeoutError as error:
            arrival.check()
            raise BodyTimeoutError(f"{received} bytes came, and then hardly any more") from error
        if chunk is None:
            break
        received += len(chunk)
        if received > max_bytes:
            raise BodyTooLargeError(f"the body has more than {max_bytes} bytes")
        arrival.grow(len(chunk))
        for running in hashes.values():
            running.update(chunk)
        yield chunk
    arrival.complete()
    for name, running in hashes.items():
        if base64.b64encode(running.digest()).decode() != promised[name]:
            raise DigestMismatchError(
                f"the {name} of the {received} bytes received is not the one in Content-Digest"
            )
    if not received:
        raise MalformedBodyError("the body is empty")
