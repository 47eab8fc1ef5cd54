"""The real exporter sends to a real receiver of OTLP, over HTTP."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

import httpx2
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from service import tracing
from service.settings import Settings
from tests.service.conftest import Live, Log

TRACE = "0af7651916cd43dd8448eb211c80319c"
CALLER = "b7ad6b7169203331"


class Receiver:
    """A collector that keeps what it gets, and answers while `answers` is set."""

    def __init__(self) -> None:
        self.services: set[str] = set()
        self.spans: list[Span] = []
        self.answers = threading.Event()
        self.answers.set()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                    named = {one.key: one.value.string_value for one in resource.resource.attributes}
                    receiver.services.add(named["service.name"])
                    receiver.spans += [span for scope in resource.scope_spans for span in scope.spans]
                receiver.answers.wait()
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    def of(self, request_id: str) -> tuple[Span, list[Span]]:
        """The span of a request, and those of its stages as they began."""
        (request,) = (span for span in self.spans if attributes(span).get(tracing.REQUEST_ID) == request_id)
        below = [span for span in self.spans if span.parent_span_id == request.span_id]
        return request, sorted(below, key=lambda span: span.start_time_unix_nano)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def attributes(span: Span) -> dict[str, str]:
    return {one.key: one.value.string_value for one in span.attributes}


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    with Receiver() as receiver:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url)
        yield receiver


def test_a_request_is_a_span_and_each_of_its_stages_one_below(
    receiver: Receiver, live: Callable[[Settings], Live], log: Log, jpeg: bytes
) -> None:
    settings = Settings(store="memory://", models=("psnr",), profile="psnr", threads=1)
    asked = time.time_ns()
    with live(settings) as running, httpx2.Client(base_url=running.url) as client:
        made = client.post(
            "/compress?bpp=1",
            content=jpeg,
            headers={"X-Request-ID": "photo-7", "traceparent": f"00-{TRACE}-{CALLER}-01"},
        )
        hybrid = client.post("/compress?bpp=1&codec=hybrid", content=jpeg)
        refused = client.post("/compress?bpp=1", content=b"no image")
        client.get("/livez")
    assert receiver.services == {"ziggurat"}

    request, stages = receiver.of("photo-7")
    assert (request.name, request.trace_id.hex()) == ("POST /compress", TRACE)
    assert request.parent_span_id.hex() == CALLER
    assert [span.name for span in stages] == ["header", "decode", "queue", "device", "entropy", "store"]
    moments = [moment for span in stages for moment in (span.start_time_unix_nano, span.end_time_unix_nano)]
    slack = 5_000_000  # the clocks are read one after the other
    assert asked - slack <= request.start_time_unix_nano <= moments[0] + slack
    assert moments[-1] <= request.end_time_unix_nano + slack
    told = dict(part.split(";dur=") for part in made.headers["server-timing"].split(", "))
    for span in stages[1:]:
        seconds = (span.end_time_unix_nano - span.start_time_unix_nano) / 1e9
        assert seconds == pytest.approx(float(told[span.name]) / 1000, abs=0.001)

    request, stages = receiver.of(hybrid.headers["x-request-id"])
    assert [span.name for span in stages] == ["header", "decode", "avif", "store"]
    assert request.trace_id.hex() != TRACE
    request, stages = receiver.of(refused.headers["x-request-id"])
    assert [span.name for span in stages] == ["header"]
    assert not any("livez" in span.name for span in receiver.spans)
    (line,) = (line for line in log.lines() if line.get("request_id") == "photo-7" and "route" in line)
    assert line["trace_id"] == TRACE


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"OTEL_SDK_DISABLED": "true", "OTEL_TRACES_EXPORTER": "otlp"},
        {"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"},
    ],
)
def test_unless_it_is_asked_for_an_app_is_as_it_was(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    app = FastAPI()
    before = vars(app).keys()
    assert tracing.instrument(app) is None
    assert vars(app).keys() == before
    assert tracing.current() is None


@pytest.mark.parametrize("missing", ["opentelemetry.sdk.trace", "exporter"])
def test_what_is_asked_for_and_not_installed_is_a_warning(
    missing: str, monkeypatch: pytest.MonkeyPatch, log: Log
) -> None:
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "otlp" if missing != "exporter" else "pigeon")
    if missing != "exporter":
        monkeypatch.setitem(sys.modules, missing, None)  # as Python marks what is not there
    assert tracing.instrument(FastAPI()) is None
    (line,) = log.lines()
    assert line["level"] == "warning"
    assert "ziggurat[otel]" in line["message"]


def test_a_collector_that_does_not_answer_keeps_nobody(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracing, "_PATIENCE_SECONDS", 0.01)
    receiver.answers.clear()
    app = FastAPI()
    traced = tracing.instrument(app)
    assert traced is not None
    TestClient(app).get("/")
    asyncio.run(traced.close())
    (sending,) = (thread for thread in threading.enumerate() if "OtelBatchSpan" in thread.name)
    receiver.answers.set()
    sending.join()
    assert [span.name for span in receiver.spans] == ["GET"]
