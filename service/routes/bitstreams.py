"""`/bitstreams`: stored streams, as they were made."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Header, Query, Request, Response
from pydantic import BaseModel, Field
from starlette.types import Receive, Scope, Send

from ..engine.timings import READ_HEADER
from ..facts import StreamFacts
from ..http import problems
from ..http.links import LINKED, Links
from ..http.negotiation import STREAM_TYPE, byte_range, combined, content_digest, immutable, matches_etag
from ..runtime import Runtime, RuntimeDependency
from ..store import StoreError
from .inputs import address_of

_LINK_SECONDS = 7 * 86_400
_MAX_LINK_SECONDS = 30 * 86_400
_log = logging.getLogger(__name__)

router = APIRouter(prefix="/bitstreams/{stream_id}", tags=["streams"])

_STREAM: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The stream.",
        "content": {STREAM_TYPE: {"schema": {"type": "string", "format": "binary"}}},
    }
}
_PART: dict[int | str, dict[str, Any]] = {
    206: {
        "description": "The part of the stream that Range asks for.",
        "content": {STREAM_TYPE: {"schema": {"type": "string", "format": "binary"}}},
        "headers": {
            "Content-Range": {
                "description": "First and last byte, and the size of all.",
                "schema": {"type": "string"},
            }
        },
    }
}
_UNCHANGED: dict[int | str, dict[str, Any]] = {304: {"description": "If-None-Match names the stream's ETag."}}

Range = Annotated[
    str | None,
    Header(description="One range of bytes, such as `bytes=0-27`. Several at once are answered with all."),
]
IfRange = Annotated[
    str | None, Header(description="An ETag; with any other than the stream's, all of it is answered.")
]


@router.get(
    "",
    response_class=Response,
    dependencies=[LINKED],
    responses=_STREAM | _PART | _UNCHANGED | problems.describe(403, 404, 416, 422, 503),
)
async def stream(
    request: Request,
    runtime: RuntimeDependency,
    stream_id: str,
    range: Range = None,
    if_range: IfRange = None,
) -> Response:
    """The stream, as it was made, or a part of it. It never changes, and may be cached for ever."""
    etag = _etag(stream_id)
    if matches_etag(combined(request.headers, "if-none-match"), etag):
        await runtime.store.find(stream_id)  # 404 goes before 304
        return Response(status_code=304, headers=_lasting(runtime, stream_id))

    usable = range if if_range in (None, etag) else None
    with runtime.engine.stages.in_store():
        found = await runtime.store.read(stream_id, lambda size: byte_range(usable, size))
    headers = _headers(runtime, stream_id)
    if found.part is None:
        return _Pieces(found.pieces, 200, headers | {"Content-Length": str(found.size)})
    headers |= _part_headers(stream_id, found.digest, found.part, found.size)
    return _Pieces(found.pieces, 206, headers)


class _Pieces(Response):
    """A stream that is sent as it is read, and not held: its client may be slow."""

    media_type = STREAM_TYPE

    def __init__(self, pieces: AsyncIterator[bytes], status: int, headers: dict[str, str]) -> None:
        super().__init__(None, status, headers)
        self._pieces = pieces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        try:
            async for piece in self._pieces:
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        except StoreError as error:
            # Nothing can be answered any more. Without an end the server closes the connection, and
            # the client sees that the stream is cut off.
            _log.warning("a stream could not be sent to its end: %s", error)
            return
        await send({"type": "http.response.body"})


@router.head(
    "",
    response_class=Response,
    dependencies=[LINKED],
    responses=_STREAM | _UNCHANGED | problems.describe(403, 404, 422, 503),
)
async def probe_stream(request: Request, runtime: RuntimeDependency, stream_id: str) -> Response:
    """Say whether the stream is there, and how long it is."""
    if matches_etag(combined(request.headers, "if-none-match"), _etag(stream_id)):
        await runtime.store.find(stream_id)  # 404 goes before 304
        return Response(status_code=304, headers=_lasting(runtime, stream_id))
    size = await runtime.store.size(stream_id)
    headers = _headers(runtime, stream_id) | {"Content-Length": str(size)}
    return Response(headers=headers, media_type=STREAM_TYPE)


@router.delete("", status_code=204, response_class=Response, responses=problems.describe(403, 404, 422, 503))
async def delete_stream(runtime: RuntimeDependency, stream_id: str) -> None:
    """Forget the stream. Copies in caches live on. Without API keys this is off unless a setting
    allows it."""
    await runtime.store.delete(stream_id)


@router.head("/info", include_in_schema=False, dependencies=[LINKED])
@router.get("/info", dependencies=[LINKED], responses=problems.describe(403, 404, 422, 503))
async def stream_facts(runtime: RuntimeDependency, stream_id: str) -> StreamFacts:
    """The facts in the stream's header. Needs no model."""
    async with runtime.store.held(stream_id) as found:
        return await runtime.engine.stages.on_thread(READ_HEADER, None, StreamFacts.of, found)


class Link(BaseModel):
    """Addresses of one stream for those who have no API key, until a time."""

    page_url: str = Field(description="The page that shows the picture.")
    picture_url: str = Field(description="The picture.")
    stream_url: str = Field(description="The stream.")
    expires: int | None = Field(
        description="Second of Unix time in which the addresses end; null where no keys are set: there "
        "everybody has every stream by its id."
    )


@router.post("/links", status_code=201, responses=problems.describe(403, 404, 422, 501, 503))
async def link(
    request: Request,
    runtime: RuntimeDependency,
    stream_id: str,
    seconds: Annotated[
        int, Query(ge=1, le=_MAX_LINK_SECONDS, description="For how long. 30 days at most.")
    ] = _LINK_SECONDS,
) -> Link:
    """Make a link to a stored stream, its picture and its facts. It allows nothing else, cannot be
    taken back, and ends by itself."""
    await runtime.store.find(stream_id)
    query = fragment = ""
    expires = None
    if runtime.settings.api_keys:
        expires = int(time.time()) + seconds
        signature = Links(runtime.settings.link_secrets).sign(stream_id, expires)
        query = f"?{urlencode({'expires': expires, 'signature': signature})}"
        fragment = f".{expires}.{signature}"
    return Link(
        # What follows # is sent to nobody: it is in no log, and in no Referer.
        page_url=f"{address_of(request, 'page')}#{stream_id}{fragment}",
        picture_url=address_of(request, "decompress_stored", stream_id=stream_id) + query,
        stream_url=address_of(request, "stream", stream_id=stream_id) + query,
        expires=expires,
    )


def _etag(stream_id: str) -> str:
    return f'"{stream_id}"'


def _lasting(runtime: Runtime, stream_id: str) -> dict[str, str]:
    return immutable(_etag(stream_id), private=bool(runtime.settings.api_keys))


def _headers(runtime: Runtime, stream_id: str) -> dict[str, str]:
    digest = content_digest(bytes.fromhex(stream_id))
    return _lasting(runtime, stream_id) | {"Accept-Ranges": "bytes", "Content-Digest": digest}


def _part_headers(stream_id: str, digest: bytes, part: range, size: int) -> dict[str, str]:
    return {
        "Content-Range": f"bytes {part.start}-{part.stop - 1}/{size}",
        "Content-Length": str(len(part)),
        "Content-Digest": content_digest(digest),
        "Repr-Digest": content_digest(bytes.fromhex(stream_id)),
    }
