"""Spans for OpenTelemetry: one for each request, and below it one for each of its stages.

The environment decides, in OpenTelemetry's own variables. While none of them names a collector or
an exporter, nothing of OpenTelemetry is imported, and a stage pays for one look at a variable.
Telemetry that is set up wrongly is logged, and never keeps the service from serving.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections.abc import Iterator
from contextvars import ContextVar
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastapi import FastAPI
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.trace import Span, Tracer
    from starlette.types import Scope

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
# Requested every few seconds, and dull. OTEL_PYTHON_FASTAPI_EXCLUDED_URLS names others instead.
_PROBES = "/livez$,/readyz$,/metrics$"
REQUEST_ID = "ziggurat.request_id"  # the attribute of a request's span
_PATIENCE_SECONDS = 5.0  # for the last spans, when the service stops

_log = logging.getLogger(__name__)


class Trace:
    """The trace of one request. Its methods are for any thread.

    Attributes:
        id: of the trace, 32 hex digits.
    """

    def __init__(self, tracer: Tracer, span: Span) -> None:
        from opentelemetry.trace import format_trace_id, set_span_in_context

        self.id = format_trace_id(span.get_span_context().trace_id)
        self._tracer = tracer
        self._span = span
        self._context = set_span_in_context(span)
        # Spans are in nanoseconds since 1970, what is measured here is on the monotonic clock.
        self._epoch = time.time_ns() - time.monotonic_ns()

    def name_request(self, request_id: str) -> None:
        """Give the request's span the id that its answer and its log lines carry."""
        self._span.set_attribute(REQUEST_ID, request_id)

    def stage(self, name: str, begun: float, ended: float) -> None:
        """Add the span of a stage that ran between two times of `time.monotonic`."""
        span = self._tracer.start_span(name, self._context, start_time=self._nanoseconds(begun))
        span.end(self._nanoseconds(ended))

    def _nanoseconds(self, seconds: float) -> int:
        return self._epoch + round(1e9 * seconds)


_current: ContextVar[Trace | None] = ContextVar("trace", default=None)


def current() -> Trace | None:
    """Return the trace of the current request; None where it has none."""
    return _current.get()


class Tracing:
    """The tracing of one app. `close` it when the app has stopped."""

    def __init__(self, provider: TracerProvider) -> None:
        self._provider = provider

    async def close(self) -> None:
        """Send what is left. A collector that does not answer is not waited for long."""
        # A daemon, which the exporter's own attempts to reach a collector cannot keep alive.
        sending = threading.Thread(target=self._provider.shutdown, daemon=True)
        sending.start()
        await asyncio.to_thread(sending.join, _PATIENCE_SECONDS)


def instrument(app: FastAPI) -> Tracing | None:
    """Trace an app that has not begun to serve, if the environment asks for it.

    Returns:
        What to close; None when nothing is traced.
    """
    if not _wanted():
        return None
    try:
        from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
        from opentelemetry.sdk.resources import OTELResourceDetector, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        exporters = list(_exporters())
    except ImportError as error:
        _log.warning("no traces, which OTEL_ variables ask for: %s; pip install 'ziggurat[otel]'", error)
        return None
    ours = Resource({"service.name": "ziggurat", "service.version": app.version})
    provider = TracerProvider(resource=Resource.create().merge(ours).merge(OTELResourceDetector().detect()))
    for exporter in exporters:
        provider.add_span_processor(BatchSpanProcessor(exporter))
    tracer = provider.get_tracer("ziggurat", app.version)

    def begin(span: Span, _: Scope) -> None:
        _current.set(Trace(tracer, span) if span.is_recording() else None)

    FastAPIInstrumentor.instrument_app(
        app,
        server_request_hook=begin,
        tracer_provider=provider,
        excluded_urls=None if "OTEL_PYTHON_FASTAPI_EXCLUDED_URLS" in os.environ else _PROBES,
        exclude_spans=["receive", "send"],  # one for each piece of a body
    )
    return Tracing(provider)


def _wanted() -> bool:
    """Say whether the environment asks for traces."""
    if os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return False
    exporter = os.environ.get("OTEL_TRACES_EXPORTER") or ("otlp" if _first(_ENDPOINTS) else "none")
    return exporter != "none"


def _exporters() -> Iterator[SpanExporter]:
    """Make the exporters that the environment names; by default, OTLP over HTTP.

    Raises:
        ImportError: one of them is not installed.
    """
    for name in (os.environ.get("OTEL_TRACES_EXPORTER") or "otlp").split(","):
        if name.strip() == "otlp":
            name = "otlp_proto_grpc" if _first(_PROTOCOLS) == "grpc" else "otlp_proto_http"
        found = list(entry_points(group="opentelemetry_traces_exporter", name=name.strip()))
        if not found:
            raise ImportError(f"no exporter {name.strip()} is installed")
        yield found[0].load()()


def _first(names: tuple[str, ...]) -> str:
    """Return the first variable of the environment that is set; empty if none is."""
    return next((os.environ[name] for name in names if os.environ.get(name)), "")
