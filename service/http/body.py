"""Request bodies: raw, or multipart with `file`; limited in bytes and time, checked by digest.

Starlette's own RequestBodyLimitMiddleware counts bytes in the same way, but answers in plain text
whenever Content-Length is over the limit.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
from collections.abc import AsyncGenerator
from dataclasses import dataclass

from fastapi import Request
from python_multipart.multipart import parse_options_header
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from .negotiation import STREAM_TYPE

_MULTIPART = "multipart/form-data"
_UNDECLARED = ("", "application/octet-stream")
_DIGEST = re.compile(r"(sha-256|sha-512)=:([A-Za-z0-9+/]*={0,2}):")
_MIN_BYTES_PER_SECOND = 10_000  # a sender that keeps this up is given all the time it needs
_MAX_FORM_FIELDS = 16  # beside the files


class UnsupportedBodyError(Exception):
    """The request's Content-Type is not one that the endpoint takes."""


class BodyTooLargeError(Exception):
    """The body is over the byte limit; it was not read further."""


class BodyTimeoutError(Exception):
    """The body came too slowly; it was not waited for any longer."""


class DigestMismatchError(Exception):
    """The body does not have the digest in the request's Content-Digest (RFC 9530)."""


class MalformedBodyError(Exception):
    """A multipart body that is broken or lacks its `file`."""


async def read_body(request: Request, *, accepts: str, max_bytes: int, seconds: float) -> bytes:
    """Read the file in a request, raw or as multipart field `file`.

    Args:
        request: its body has not been read.
        accepts: a media type or `image/*`. The Content-Type of a raw body must match it, or be
            absent or `application/octet-stream`.
        max_bytes: the most that is read, framing of a multipart body included.
        seconds: the time for the body to arrive, beside one second for every 10,000 bytes.

    Raises:
        UnsupportedBodyError: the Content-Type does not match.
        BodyTooLargeError: the body has more than `max_bytes`.
        BodyTimeoutError: the body did not arrive in time.
        DigestMismatchError: the body is not what Content-Digest promises.
        MalformedBodyError: the multipart body is broken or has no `file`.
    """
    declared = _declared(request)
    if declared == _MULTIPART:
        return await _multipart_file(request, _checked(request, max_bytes, seconds))
    if declared not in _UNDECLARED and not _fits(declared, accepts):
        raise UnsupportedBodyError(
            f"Content-Type is {declared}; this takes {accepts}, application/octet-stream or {_MULTIPART}"
        )
    return b"".join([chunk async for chunk in _checked(request, max_bytes, seconds)])


@dataclass(frozen=True, slots=True)
class Upload:
    """A file from a multipart body: its content, and the client's name for it, unchecked."""

    name: str
    content: bytes


def is_form(request: Request) -> bool:
    """Say whether the request's body is multipart."""
    return _declared(request) == _MULTIPART


async def read_files(request: Request, *, max_files: int, max_bytes: int, seconds: float) -> list[Upload]:
    """Read the files in a multipart body's fields `file`, at least one and at most `max_files`.

    `max_bytes`, `seconds` and the errors are those of `read_body`.
    """
    form = await _form(request, _checked(request, max_bytes, seconds), max_files=max_files)
    try:
        files = [file for file in form.getlist("file") if isinstance(file, UploadFile)]
        if not files:
            raise MalformedBodyError("a multipart body needs its files in fields named `file`")
        return [Upload(file.filename or "", await file.read()) for file in files]
    finally:
        await form.close()


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


async def _checked(request: Request, max_bytes: int, seconds: float) -> AsyncGenerator[bytes, None]:
    """Yield a body's chunks while it keeps to its limits; at its end, compare its digests."""
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) > max_bytes:
        raise BodyTooLargeError(f"the body has {length} bytes; the limit is {max_bytes}")
    promised = dict(_DIGEST.findall(request.headers.get("content-digest", "")))
    hashes = {name: hashlib.new(name.replace("-", "")) for name in promised}
    stream = request.stream()
    deadline = asyncio.get_running_loop().time() + seconds
    received = 0
    while True:
        extra_seconds = received / _MIN_BYTES_PER_SECOND
        try:
            async with asyncio.timeout_at(deadline + extra_seconds):
                chunk = await anext(stream, None)
        except TimeoutError as error:
            waited = f"{seconds + extra_seconds:.0f} seconds"
            raise BodyTimeoutError(f"{received} bytes came in {waited}, and then no more") from error
        if chunk is None:
            break
        received += len(chunk)
        if received > max_bytes:
            raise BodyTooLargeError(f"the body has more than {max_bytes} bytes")
        for running in hashes.values():
            running.update(chunk)
        yield chunk
    for name, running in hashes.items():
        if base64.b64encode(running.digest()).decode() != promised[name]:
            raise DigestMismatchError(
                f"the {name} of the {received} bytes received is not the one in Content-Digest"
            )


async def _multipart_file(request: Request, stream: AsyncGenerator[bytes, None]) -> bytes:
    form = await _form(request, stream, max_files=1)
    try:
        file = form.get("file")
        if not isinstance(file, UploadFile):
            raise MalformedBodyError("a multipart body needs its file in a field named `file`")
        return await file.read()
    finally:
        await form.close()


async def _form(request: Request, stream: AsyncGenerator[bytes, None], *, max_files: int) -> FormData:
    _, options = parse_options_header(request.headers["content-type"])
    if b"boundary" not in options:
        raise MalformedBodyError("the Content-Type of a multipart body must name its boundary")
    try:
        parser = MultiPartParser(request.headers, stream, max_files=max_files, max_fields=_MAX_FORM_FIELDS)
        return await parser.parse()
    except MultiPartException as error:
        raise MalformedBodyError(error.message) from error
