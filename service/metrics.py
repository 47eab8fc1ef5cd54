"""Prometheus metrics of one app, in its own registry, and the middleware that counts requests.

What happens is told in the service's own words (`metrics.compressed(stream)`, `with metrics.stage_timer("decode")`); only this module knows
prometheus-client. Base units; counted when things end; series whose labels are known beforehand start at 0; what is a state is read when
Prometheus asks (`watch_...`), so that no gauge can leak or go stale. One process per device, hence no multiprocess mode.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from resource import getpagesize
from typing import Literal, get_args

import torch
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, disable_created_metrics
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from models import Stream
from models.bitstream import CodecKind

from . import __version__

Stage = Literal["header", "decode", "queue", "device", "rate_control", "refine", "entropy", "encode", "store"]
"""Where a request spends its time. Stages do not overlap: rate control's probes and the entropy coder do not count as `device`."""

Refined = Literal["complete", "cut", "skipped"]
"""What became of a picture's effort: all of it was done, the deadline ended it early, or there was no time to begin."""

Direction = Literal["compress", "decompress"]
Transit = Literal[Direction, "enhance"]
StoreOperation = Literal["put", "get", "head", "delete"]

# Otherwise a timestamp beside each series, which Prometheus would store as series of their own.
disable_created_metrics()  # type: ignore[no-untyped-call]

_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")

# Bucket edges. A ratio of counts is exact only at an edge, so there is one wherever an alert or a panel asks for one: 5 s is the service's
# latency objective, 120 s the default deadline; 0.99 and 1 bound a rate target that was met; bits per pixel are those of the evaluation.
_REQUEST_SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 120)
_STAGE_SECONDS = (0.0005, 0.001, 0.002, *_REQUEST_SECONDS)  # a small picture's header or symbols take less than a millisecond
_BATCH_IMAGES = (1, 2, 4, 8, 16, 32, 64)
_ALLOCATION_IMAGES = (1, 2, 5, 10, 20, 50, 100, 200)
_PADDING_RATIO = (0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75)
_BITS_PER_PIXEL = (0.05, 0.1, 0.15, 0.25, 0.5, 0.8, 1.5, 3, 8)
_RATE_ERROR_RATIO = (0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 1, 1.05, 1.5, 3)


class Metrics:
    """Every metric of the service. Safe to call from any thread."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        # Requests
        self._requests = self._counter("requests", "Requests answered; status 499 is a client that hung up.", "route", "method", "status")
        self._request_duration = self._histogram(
            "request_duration_seconds", "From the request line to the answer's last byte.", _REQUEST_SECONDS, "route"
        )
        self._in_flight_requests = self._gauge("in_flight_requests", "Requests begun and not ended.")
        self._rejected = self._counter("rejected", "Requests refused, by the last part of the problem's type.", "reason")
        # Stages, queue and batches
        self._stage_duration = self._histogram(
            "stage_duration_seconds",
            "Time in a stage, which never overlaps another: device and rate_control per batch, the others per image or stream.",
            _STAGE_SECONDS,
            "stage",
        )
        self._queue_images = self._gauge("queue_images", "Images and streams waiting for the device.")
        self._queue_pixels = self._gauge("queue_pixels", "Pixels of requests admitted and not answered.")
        self._queue_max_pixels = self._gauge("queue_max_pixels", "Pixels admitted before requests are refused.")
        self._queue_oldest_age = self._gauge("queue_oldest_age_seconds", "Waiting time of the oldest in the queue; 0 when it is empty.")
        self._batch_images = self._histogram("batch_images", "Images or streams per batch on the device.", _BATCH_IMAGES)
        self._batch_padding_ratio = self._histogram("batch_padding_ratio", "Share of a batch's pixels that is padding.", _PADDING_RATIO)
        # Coding
        self._pixels = self._counter("pixels", "Pixels compressed, decompressed and enhanced.", "direction")
        self._bytes = self._counter("bytes", "Bytes of streams written and read, and of files enhanced.", "direction")
        self._streams = self._counter("streams", "Streams made, by what codec=auto came to or the request asked for.", "codec")
        # Not "bits_per_pixel": `promtool check metrics` takes that for a size that should be in bytes.
        self._rate_bpp = self._histogram("rate_bpp", "Bits per pixel of streams made.", _BITS_PER_PIXEL)
        self._rate_error_ratio = self._histogram(
            "rate_error_ratio", "Size achieved / size asked for; streams made to a quality do not count.", _RATE_ERROR_RATIO
        )
        self._rate_missed = self._counter("rate_missed", "Streams whose budget was out of the model's reach.")
        self._entropy_symbols = self._counter("entropy_symbols", "Symbols that the range coder wrote and read.", "direction")
        self._entropy_worker_restarts = self._counter("entropy_worker_restarts", "Entropy worker processes replaced because they died.")
        self._allocation_images = self._histogram("allocation_images", "Images that shared one budget.", _ALLOCATION_IMAGES)
        self._refinements = self._counter("refinements", "Pictures compressed with effort, by what became of it.", "outcome")
        # Device
        self._device_up = self._gauge("device_up", "1 while the device thread runs and was seen lately, as /livez says; else 0.")
        self._device_heartbeat_age = self._gauge(
            "device_heartbeat_age_seconds", "Since the device thread was last seen between two batches; +Inf when it has ended."
        )
        self._device_out_of_memory = self._counter("device_out_of_memory", "Batches that the device had no memory for.")
        # Store
        self._store_errors = self._counter("store_errors", "Operations that the place behind the store failed.", "operation")
        # Versions
        self._model_info = self._gauge("model_info", "Models loaded.", "model", "model_id", "device")
        build_info = self._gauge("build_info", "Versions running.", "version", "python", "torch")
        build_info.labels(__version__, platform.python_version(), torch.__version__).set(1)
        ProcessCollector(registry=self.registry)
        self._device_memory, self._store_use = _Late(), _Late()
        self.registry.register(self._device_memory)
        self.registry.register(self._store_use)

        for stage in get_args(Stage):
            self._stage_duration.labels(stage)
        for direction in get_args(Direction):
            self._entropy_symbols.labels(direction)
        for transit in get_args(Transit):
            self._pixels.labels(transit)
            self._bytes.labels(transit)
        for outcome in get_args(Refined):
            self._refinements.labels(outcome)
        for codec in CodecKind:
            self._streams.labels(codec.name.lower())
        for operation in get_args(StoreOperation):
            self._store_errors.labels(operation)

    def initialise(self, routes: Iterable[tuple[str, str, int]], reasons: Iterable[str]) -> None:
        """Start the series of these (route, method, status) and rejection reasons at 0, so that a rate sees the first one too."""
        for route, method, status in routes:
            self._requests.labels(route, method, str(status))
            self._request_duration.labels(route)
        for reason in reasons:
            self._rejected.labels(reason)

    # Requests

    @contextmanager
    def in_flight(self) -> Iterator[None]:
        """Count a request as in flight while the body of the `with` runs."""
        with self._in_flight_requests.track_inprogress():
            yield

    def answered(self, route: str, method: str, status: int, seconds: float) -> None:
        """Record a request that ended. `route` is a template, never a path that a client chose."""
        self._requests.labels(route, method if method in _METHODS else "other", str(status)).inc()
        self._request_duration.labels(route).observe(seconds)

    def refused(self, reason: str) -> None:
        """Record a request answered with a problem; `reason` is the last part of its `type`."""
        self._rejected.labels(reason).inc()

    # Stages, queue and batches

    def stage(self, stage: Stage, seconds: float) -> None:
        """Record a duration of one of the stages."""
        self._stage_duration.labels(stage).observe(seconds)

    @contextmanager
    def stage_timer(self, stage: Stage) -> Iterator[None]:
        """Record how long the body of the `with` takes, also when it fails."""
        begun = time.monotonic()
        try:
            yield
        finally:
            self.stage(stage, time.monotonic() - begun)

    def batch(self, images: int, *, pixels: int, padded_pixels: int) -> None:
        """Record a batch that the device ran: of the `padded_pixels` that went through the network, `pixels` were pictures."""
        self._batch_images.observe(images)
        self._batch_padding_ratio.observe(1 - pixels / padded_pixels)

    def watch_queue(
        self, *, images: Callable[[], int], pixels: Callable[[], int], oldest_age: Callable[[], float], max_pixels: int
    ) -> None:
        """Read the queue whenever Prometheus asks.

        The oldest entry's age is a duration, not a timestamp: an empty queue has no timestamp, and a monotonic clock has no epoch. Nor can
        it go stale, which is why Prometheus prefers timestamps, as it is worked out at the scrape.
        """
        self._queue_images.set_function(images)
        self._queue_pixels.set_function(pixels)
        self._queue_oldest_age.set_function(oldest_age)
        self._queue_max_pixels.set(max_pixels)

    # Coding

    def compressed(self, stream: Stream) -> None:
        """Record a stream made: its size, and how near to the size asked for."""
        self._streams.labels(stream.codec.name.lower()).inc()
        self._pixels.labels("compress").inc(stream.width * stream.height)
        self._bytes.labels("compress").inc(len(stream.data))
        self._rate_bpp.observe(stream.bpp)
        self._rate_missed.inc(not stream.target_met)
        if (asked := stream.target_bpp) is not None:
            self._rate_error_ratio.observe(stream.bpp / asked)

    def decompressed(self, pixels: int, stream_bytes: int) -> None:
        """Record a stream decoded."""
        self._pixels.labels("decompress").inc(pixels)
        self._bytes.labels("decompress").inc(stream_bytes)

    def enhanced(self, pixels: int, file_bytes: int) -> None:
        """Record a file whose picture was improved."""
        self._pixels.labels("enhance").inc(pixels)
        self._bytes.labels("enhance").inc(file_bytes)

    def entropy_coded(self, direction: Direction, symbols: int) -> None:
        """Record symbols that went through the range coder."""
        self._entropy_symbols.labels(direction).inc(symbols)

    def refined(self, outcome: Refined) -> None:
        """Record what became of the effort for a picture."""
        self._refinements.labels(outcome).inc()

    def entropy_worker_restarted(self) -> None:
        """Record that an entropy worker died and was replaced."""
        self._entropy_worker_restarts.inc()

    def allocated(self, images: int) -> None:
        """Record that so many images have shared one budget."""
        self._allocation_images.observe(images)

    # Device

    def watch_device(self, device: str, *, up: Callable[[], bool], heartbeat_age: Callable[[], float]) -> None:
        """Read the device's memory and the pulse of its thread (an age in seconds, as `watch_queue` explains) whenever Prometheus asks."""
        self._device_up.set_function(up)
        self._device_heartbeat_age.set_function(heartbeat_age)
        self._device_memory.read = lambda: _device_memory(torch.device(device))

    def model_loaded(self, model: str, model_id: str, device: str) -> None:
        """Record that a model is ready on a device."""
        self._model_info.labels(model, model_id, device).set(1)

    def out_of_memory(self) -> None:
        """Record a batch that the device had no memory for."""
        self._device_out_of_memory.inc()

    # Store

    def store_failed(self, operation: StoreOperation) -> None:
        """Record that the disk or the bucket behind the store failed."""
        self._store_errors.labels(operation).inc()

    def watch_store(self, *, stored_bytes: Callable[[], float], stored_objects: Callable[[], float], max_bytes: float) -> None:
        """Read what a local store holds whenever Prometheus asks. Not called for a bucket, which then has no such series."""
        self._store_use.read = lambda: [
            GaugeMetricFamily("ziggurat_store_bytes", "Bytes of the streams in the local store.", stored_bytes()),
            GaugeMetricFamily("ziggurat_store_objects", "Streams in the local store.", stored_objects()),
            GaugeMetricFamily("ziggurat_store_max_bytes", "Bytes that the local store keeps; +Inf without a quota.", max_bytes),
        ]

    def _counter(self, name: str, documentation: str, *labels: str) -> Counter:
        return Counter(f"ziggurat_{name}", documentation, labels, registry=self.registry)

    def _gauge(self, name: str, documentation: str, *labels: str) -> Gauge:
        return Gauge(f"ziggurat_{name}", documentation, labels, registry=self.registry)

    def _histogram(self, name: str, documentation: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        return Histogram(f"ziggurat_{name}", documentation, labels, buckets=buckets, registry=self.registry)


class _Late(Collector):
    """Metrics that exist from when somebody says how to read them."""

    read: Callable[[], Iterable[Metric]] = tuple

    def collect(self) -> Iterable[Metric]:
        return self.read()


def _device_memory(device: torch.device) -> Iterator[Metric]:
    """Of a GPU, what PyTorch's allocator uses, what it holds, and what there is; of the CPU, what the process has resident."""
    family = GaugeMetricFamily("ziggurat_device_memory_bytes", "Memory of the device that the networks run on.", labels=["kind"])
    if device.type == "cuda":
        family.add_metric(["allocated"], torch.cuda.memory_allocated(device))
        family.add_metric(["reserved"], torch.cuda.memory_reserved(device))
        family.add_metric(["total"], torch.cuda.get_device_properties(device).total_memory)
    elif (statm := Path("/proc/self/statm")).exists():  # on Linux
        family.add_metric(["resident"], int(statm.read_text().split()[1]) * getpagesize())
    yield family
