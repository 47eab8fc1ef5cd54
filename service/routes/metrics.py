"""`/metrics`: for Prometheus."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from weakref import WeakKeyDictionary

from fastapi import APIRouter, Request, Response
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from ..http.negotiation import combined
from ..metrics import Metrics, OfWorkers
from ..runtime import Runtime, RuntimeDependency

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
    """Every metric of the service; where it has several workers, those of each."""
    encode, media_type = choose_encoder(combined(request.headers, "accept") or "")
    running = _rendering.setdefault(runtime.metrics, {})
    if media_type not in running:
        rendering = asyncio.ensure_future(_render(runtime, encode))
        rendering.add_done_callback(lambda _: running.pop(media_type))
        running[media_type] = rendering
    text = await asyncio.shield(running[media_type])
    return Response(text, headers={"Content-Type": media_type})


async def _render(runtime: Runtime, encode: Callable[[Collector], bytes]) -> bytes:
    worker = runtime.siblings.worker
    registry: Collector = runtime.metrics.registry
    if worker is not None:
        families = await runtime.siblings.ask("metrics")
        families[worker.index] = await runtime.metrics.families()
        board = worker.board
        registry = OfWorkers(families, [board.restarts(each) for each in range(board.workers)])
    return await asyncio.to_thread(encode, registry)
