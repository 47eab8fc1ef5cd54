"""`/bitstreams`: the stored streams themselves."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response

from .. import problems
from ..facts import StreamFacts
from ..negotiation import STREAM_TYPE, content_digest, immutable, matches_etag
from ..runtime import RuntimeDependency

router = APIRouter(prefix="/bitstreams/{stream_id}", tags=["streams"])

_STREAM: dict[int | str, dict[str, Any]] = {
    200: {"description": "The stream.", "content": {STREAM_TYPE: {"schema": {"type": "string", "format": "binary"}}}}
}
_UNCHANGED: dict[int | str, dict[str, Any]] = {304: {"description": "If-None-Match names the stream's ETag."}}


@router.get("", response_class=Response, responses=_STREAM | _UNCHANGED | problems.describe(404, 503))
async def stream(request: Request, runtime: RuntimeDependency, stream_id: str) -> Response:
    """The stream, as it was made. It never changes, and may be cached for ever."""
    if matches_etag(request.headers.get("if-none-match"), _etag(stream_id)):
        await runtime.store.size(stream_id)  # 404 goes before 304
        return Response(status_code=304, headers=immutable(_etag(stream_id)))
    with runtime.metrics.stage_timer("store"):
        found = await runtime.store.get(stream_id)
    return Response(found, headers=_headers(stream_id), media_type=STREAM_TYPE)


@router.head("", response_class=Response, responses=_STREAM | _UNCHANGED | problems.describe(404, 503))
async def probe_stream(request: Request, runtime: RuntimeDependency, stream_id: str) -> Response:
    """Whether the stream is there, and how long it is."""
    size = await runtime.store.size(stream_id)
    if matches_etag(request.headers.get("if-none-match"), _etag(stream_id)):
        return Response(status_code=304, headers=immutable(_etag(stream_id)))
    return Response(headers=_headers(stream_id) | {"Content-Length": str(size)}, media_type=STREAM_TYPE)


@router.delete("", status_code=204, responses=problems.describe(404, 503))
async def delete_stream(runtime: RuntimeDependency, stream_id: str) -> None:
    """Forget the stream. Copies in caches live on."""
    await runtime.store.delete(stream_id)


@router.head("/info", include_in_schema=False)
@router.get("/info", responses=problems.describe(404, 422, 503))
async def stream_facts(runtime: RuntimeDependency, stream_id: str) -> StreamFacts:
    """The facts in the stream's header. Needs no model."""
    found = await runtime.store.get(stream_id)
    return await runtime.engine.on_image_thread("header", StreamFacts.of, found)


def _etag(stream_id: str) -> str:
    return f'"{stream_id}"'


def _headers(stream_id: str) -> dict[str, str]:
    return immutable(_etag(stream_id)) | {"Content-Digest": content_digest(bytes.fromhex(stream_id))}
