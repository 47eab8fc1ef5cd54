"""`/metrics`: for Prometheus."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from prometheus_client.exposition import choose_encoder

from ..http.negotiation import combined
from ..runtime import RuntimeDependency

router = APIRouter(tags=["operation"])


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
    return Response(encode(runtime.metrics.registry), headers={"Content-Type": media_type})
