"""`/bitstreams`: stored streams, as they were made."""

from __future__ import annotations

from hashlib import sha256
from typing import Annotated, Any

from fastapi import APIRouter, Header, Request, Response

from ..engine.timings import READ_HEADER
from ..facts import StreamFacts
from ..http import problems
from ..http.negotiation import STREAM_TYPE, byte_range, content_digest, immutable, matches_etag
from ..runtime import RuntimeDependency

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
    "", response_class=Response, responses=_STREAM | _PART | _UNCHANGED | problems.describe(404, 416, 503)
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
    if matches_etag(request.headers.get("if-none-match"), etag):
        await runtime.store.size(stream_id)  # 404 goes before 304
        return Response(status_code=304, headers=immutable(etag))
    if range is not None and if_range in (None, etag):
        size = await runtime.store.size(stream_id)
        if (wanted := byte_range(range, size)) is not None:
            with runtime.engine.stages.in_store():
                part = await runtime.store.get_range(stream_id, wanted)
            return Response(part, 206, _part_headers(stream_id, part, wanted, size), STREAM_TYPE)
    with runtime.engine.stages.in_store():
        found = await runtime.store.get(stream_id)
    return Response(found, headers=_headers(stream_id), media_type=STREAM_TYPE)


@router.head("", response_class=Response, responses=_STREAM | _UNCHANGED | problems.describe(404, 503))
async def probe_stream(request: Request, runtime: RuntimeDependency, stream_id: str) -> Response:
    """Whether the stream is there, and how long it is."""
    size = await runtime.store.size(stream_id)
    if matches_etag(request.headers.get("if-none-match"), _etag(stream_id)):
        return Response(status_code=304, headers=immutable(_etag(stream_id)))
    return Response(headers=_headers(stream_id) | {"Content-Length": str(size)}, media_type=STREAM_TYPE)


@router.delete("", status_code=204, response_class=Response, responses=problems.describe(404, 503))
async def delete_stream(runtime: RuntimeDependency, stream_id: str) -> None:
    """Forget the stream. Copies in caches live on."""
    await runtime.store.delete(stream_id)


@router.head("/info", include_in_schema=False)
@router.get("/info", responses=problems.describe(404, 422, 503))
async def stream_facts(runtime: RuntimeDependency, stream_id: str) -> StreamFacts:
    """The facts in the stream's header. Needs no model."""
    found = await runtime.store.get(stream_id)
    return await runtime.engine.stages.on_thread(READ_HEADER, None, StreamFacts.of, found)


def _etag(stream_id: str) -> str:
    return f'"{stream_id}"'


def _headers(stream_id: str) -> dict[str, str]:
    digest = content_digest(bytes.fromhex(stream_id))
    return immutable(_etag(stream_id)) | {"Accept-Ranges": "bytes", "Content-Digest": digest}


def _part_headers(stream_id: str, part: bytes, wanted: range, size: int) -> dict[str, str]:
    return _headers(stream_id) | {
        "Content-Range": f"bytes {wanted.start}-{wanted.stop - 1}/{size}",
        "Content-Digest": content_digest(sha256(part).digest()),
        "Repr-Digest": content_digest(bytes.fromhex(stream_id)),
    }
