"""Prometheus metrics of one app, in its own registry, and the middleware that counts requests.

Base units, counted when requests end, label sets that are known beforehand initialised to 0.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from models import Stream

from . import __version__

_STAGES = ("header", "decode", "queue", "device", "encode", "store")
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)


class Metrics:
    """Every metric of the service. Attributes are prometheus-client's objects."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.requests = Counter("ziggurat_requests", "Requests answered.", ["route", "method", "status"], registry=registry)
        self.request_duration = Histogram(
            "ziggurat_request_duration_seconds", "From request line to last byte.", ["route"], buckets=_SECONDS, registry=registry
        )
        self.in_flight_requests = Gauge("ziggurat_in_flight_requests", "Requests not answered yet.", registry=registry)
        self._stage_duration = Histogram(
            "ziggurat_stage_duration_seconds",
            "Time in a stage: device per batch, all others per request.",
            ["stage"],
            buckets=_SECONDS,
            registry=registry,
        )
        self.queue_images = Gauge("ziggurat_queue_images", "Images and streams waiting for the device.", registry=registry)
        self.queue_pixels = Gauge("ziggurat_queue_pixels", "Pixels of requests admitted and not answered.", registry=registry)
        self.batch_images = Histogram(
            "ziggurat_batch_images", "Images per batch on the device.", buckets=(1, 2, 4, 8, 16, 32, 64), registry=registry
        )
        self.pixels = Counter("ziggurat_pixels", "Pixels compressed and decompressed.", ["direction"], registry=registry)
        self.bytes = Counter("ziggurat_bytes", "Stream bytes written and read.", ["direction"], registry=registry)
        self.bits_per_pixel = Histogram(
            "ziggurat_bits_per_pixel", "Of streams made.", buckets=(0.03, 0.06, 0.1, 0.15, 0.25, 0.5, 0.8, 1.5, 3, 8), registry=registry
        )
        self.rate_error_ratio = Histogram(
            "ziggurat_rate_error_ratio",
            "Size achieved / size asked for.",
            buckets=(0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 1, 1.05, 1.5, 3),
            registry=registry,
        )
        self.rate_missed = Counter("ziggurat_rate_missed", "Streams whose budget was out of the model's reach.", registry=registry)
        self.rejected = Counter("ziggurat_rejected", "Requests refused, by problem.", ["reason"], registry=registry)
        self.model_info = Gauge("ziggurat_model_info", "Models loaded.", ["model", "model_id", "device"], registry=registry)
        build_info = Gauge("ziggurat_build_info", "Versions running.", ["version", "python", "torch"], registry=registry)
        build_info.labels(__version__, platform.python_version(), torch.__version__).set(1)

        for stage in _STAGES:
            self._stage_duration.labels(stage)
        for direction in ("compress", "decompress"):
            self.pixels.labels(direction)
            self.bytes.labels(direction)

    def initialise(self, routes: Iterable[tuple[str, str, int]], reasons: Iterable[str]) -> None:
        """Start the series of these (route, method, status on success) and rejection reasons at 0."""
        for route, method, status in routes:
            self.requests.labels(route, method, str(status))
            self.request_duration.labels(route)
        for reason in reasons:
            self.rejected.labels(reason)

    def compressed(self, stream: Stream) -> None:
        """Record a stream made: its size, and how near to the size asked for."""
        pixels = stream.width * stream.height
        self.pixels.labels("compress").inc(pixels)
        self.bytes.labels("compress").inc(len(stream.data))
        self.bits_per_pixel.observe(stream.bpp)
        self.rate_missed.inc(not stream.target_met)
        if (asked := asked_bpp(stream)) is not None:
            self.rate_error_ratio.observe(stream.bpp / asked)

    def decompressed(self, pixels: int, stream_bytes: int) -> None:
        """Record a stream decoded."""
        self.pixels.labels("decompress").inc(pixels)
        self.bytes.labels("decompress").inc(stream_bytes)

    def stage(self, stage: str, seconds: float) -> None:
        """Record a duration of one of the stages."""
        self._stage_duration.labels(stage).observe(seconds)

    @contextmanager
    def stage_timer(self, stage: str) -> Iterator[None]:
        """Record how long the body of the `with` takes."""
        begun = time.monotonic()
        try:
            yield
        finally:
            self.stage(stage, time.monotonic() - begun)


def asked_bpp(stream: Stream) -> float | None:
    """The rate that a stream's target comes to, in bits per pixel; None when a quality was asked for."""
    if stream.target.max_bytes is not None:
        return 8 * stream.target.max_bytes / (stream.width * stream.height)
    return stream.target.bpp


class MetricsMiddleware:
    """Counts requests when they end, by the template of the route that took them; unknown paths share one label."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = 500  # what the server answers when the app raises

        async def watch(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        begun = time.monotonic()
        self._metrics.in_flight_requests.inc()
        try:
            await self._app(scope, receive, watch)
        finally:
            self._metrics.in_flight_requests.dec()
            route = getattr(scope.get("route"), "path", "unknown")
            method = scope["method"] if scope["method"] in _METHODS else "other"
            self._metrics.requests.labels(route, method, str(status)).inc()
            self._metrics.request_duration.labels(route).observe(time.monotonic() - begun)
