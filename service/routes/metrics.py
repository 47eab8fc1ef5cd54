"""`/metrics`: for Prometheus."""

from __future__ import annotations

import asyncio
from weakref import WeakKeyDictionary

from fastapi import APIRouter, Request, Response
from prometheus_client.exposition import choose_encoder

from ..http.negotiation import combined
from ..metrics import Metrics
from ..runtime import RuntimeDependency

router = APIRouter(tags=["operation"])

# Rendering takes ten milliseconds of a processor. Whoever asks while it is under way shares its
# result, so that hundreds who ask at once cost no more than one.
_rendering: WeakKeyDictionary[Metrics, dict[str, asyncio.Future[bytes]]] = WeakKeyDictionary()


@router.head("/metrics", include_in_schema=False)
@router.get(
    "/metrics",
    response_class=Response,
    responses={
        200: {
            "description": "The Prometheus text format, or OpenMetrics.",
            "content": {"text/plain": {}, "application/openmetrics-text": {}},
        }
    },
)
async def metrics(request: Request, runtime: RuntimeDependency) -> Response:
    """Every metric of this process."""
    encode, media_type = choose_encoder(combined(request.headers, "accept") or "")
    running = _rendering.setdefault(runtime.metrics, {})
    if media_type not in running:
        rendering = asyncio.ensure_future(asyncio.to_thread(encode, runtime.metrics.registry))
        rendering.add_done_callback(lambda _: running.pop(media_type))
        running[media_type] = rendering
    text = await asyncio.shield(running[media_type])
    return Response(text, headers={"Content-Type": media_type})
