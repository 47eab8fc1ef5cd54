"""Prometheus metrics of one app, in its own registry.

The rest of the service reports in its own words (`metrics.compressed(stream)`,
`with metrics.stage_timer("decode")`); only this module knows prometheus-client.

Values are in base units. Events are counted when they end. Series whose labels are known beforehand
start at 0. States are read when Prometheus asks (`watch_...`), so that no gauge can leak or go
stale. Of several workers each has its own, and whoever is asked shows those of all: `OfWorkers`.
That needs no files, and a worker that is replaced begins anew, as Prometheus expects of a counter.
"""

from __future__ import annotations

import asyncio
import platform
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from resource import getpagesize
from typing import Literal, get_args

import torch
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from models import Stream
from models.bitstream import CodecKind

from . import __version__

Stage = Literal["header", "decode", "queue", "device", "rate_control", "refine", "entropy", "encode", "store"]
"""A part of the work on a request.

Stages do not overlap: rate control's probes and the entropy coder do not count as `device`.
"""

Refined = Literal["complete", "cut", "skipped"]
"""The end of a picture's effort: all of it done, cut by the deadline, or no time to begin."""

Direction = Literal["compress", "decompress"]
Transit = Literal[Direction, "enhance"]
StoreOperation = Literal["put", "get", "head", "delete"]

# Otherwise a timestamp beside each series, which Prometheus would store as series of their own.
disable_created_metrics()  # type: ignore[no-untyped-call]

_KNOWN_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")  # others share one label

# Bucket edges. A ratio of counts is exact only at an edge, so there is one wherever an alert or a
# panel asks for one: 5 s is the service's latency objective, 120 s the default deadline; 0.99 and 1
# bound a rate target that was met; bits per pixel are those of the evaluation.
_REQUEST_SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 120)
_STAGE_SECONDS = (0.0005, 0.001, 0.002, *_REQUEST_SECONDS)  # a thumbnail's header takes under 1 ms
PROTOCOL_STATUSES = (400, 414, 431, 503)  # no HTTP, long URL, many headers, many connections
_UP, _RESTARTS = "worker_up", "worker_restarts"
_BATCH_IMAGES = (1, 2, 4, 8, 16, 32, 64)
_ALLOCATION_IMAGES = (1, 2, 5, 10, 20, 50, 100, 200)
_PADDING_RATIO = (0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75)
_BITS_PER_PIXEL = (0.05, 0.1, 0.15, 0.25, 0.5, 0.8, 1.5, 3, 8)
_RATE_ERROR_RATIO = (0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 1, 1.05, 1.5, 3)


class _Declare:
    """Makes the service's metrics in one registry, where they stand in the order of these calls."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def counter(self, name: str, documentation: str, *labels: str) -> Counter:
        return Counter(f"ziggurat_{name}", documentation, labels, registry=self._registry)

    def gauge(self, name: str, documentation: str, *labels: str) -> Gauge:
        return Gauge(f"ziggurat_{name}", documentation, labels, registry=self._registry)

    def histogram(self, name: str, documentation: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        return Histogram(f"ziggurat_{name}", documentation, labels, buckets=buckets, registry=self._registry)


class _RequestMetrics:
    """Requests, whatever they ask for."""

    def __init__(self, declare: _Declare) -> None:
        self.answered = declare.counter(
            "requests", "Requests answered; status 499 is a client that hung up.", "route", "method", "status"
        )
        self.duration = declare.histogram(
            "request_duration_seconds",
            "From the request line to the answer's last byte.",
            _REQUEST_SECONDS,
            "route",
        )
        self.in_flight = declare.gauge("in_flight_requests", "Requests begun and not ended.")
        self.rejected = declare.counter(
            "rejected", "Requests refused, by the last part of the problem's type.", "reason"
        )
        self.protocol_refusals = declare.counter(
            "protocol_refusals",
            "Requests refused before the app saw them; no other metric has them.",
            "status",
        )
        for status in PROTOCOL_STATUSES:
            self.protocol_refusals.labels(str(status))


class _StageMetrics:
    """Stages of the work on a request, the queue before the device, and the batches on it."""

    def __init__(self, declare: _Declare) -> None:
        self.duration = declare.histogram(
            "stage_duration_seconds",
            "Time in a stage, which never overlaps another: device and rate_control per batch, the "
            "others per image or stream.",
            _STAGE_SECONDS,
            "stage",
        )
        self.queue_images = declare.gauge("queue_images", "Images and streams waiting for the device.")
        self.queue_pixels = declare.gauge("queue_pixels", "Pixels of requests admitted and not answered.")
        self.queue_max_pixels = declare.gauge(
            "queue_max_pixels", "Pixels admitted before requests are refused."
        )
        self.queue_oldest_age = declare.gauge(
            "queue_oldest_age_seconds", "Waiting time of the oldest in the queue; 0 when it is empty."
        )
        self.batch_images = declare.histogram(
            "batch_images", "Images or streams per batch on the device.", _BATCH_IMAGES
        )
        self.batch_padding_ratio = declare.histogram(
            "batch_padding_ratio", "Share of a batch's pixels that is padding.", _PADDING_RATIO
        )
        for stage in get_args(Stage):
            self.duration.labels(stage)


class _CodingMetrics:
    """Pictures and streams: how many, how large, and how near to what was asked for."""

    def __init__(self, declare: _Declare) -> None:
        self.pixels = declare.counter("pixels", "Pixels compressed, decompressed and enhanced.", "direction")
        self.bytes = declare.counter(
            "bytes", "Bytes of streams written and read, and of files enhanced.", "direction"
        )
        self.streams = declare.counter(
            "streams", "Streams made, by what codec=auto came to or the request asked for.", "codec"
        )
        # Not "bits_per_pixel": `promtool check metrics` would ask for that in bytes.
        self.rate_bpp = declare.histogram("rate_bpp", "Bits per pixel of streams made.", _BITS_PER_PIXEL)
        self.rate_error_ratio = declare.histogram(
            "rate_error_ratio",
            "Size achieved / size asked for; streams made to a quality or to minima do not count.",
            _RATE_ERROR_RATIO,
        )
        self.rate_missed = declare.counter(
            "rate_missed", "Streams whose budget or minima were out of the model's reach."
        )
        self.entropy_symbols = declare.counter(
            "entropy_symbols", "Symbols that the range coder wrote and read.", "direction"
        )
        self.entropy_worker_restarts = declare.counter(
            "entropy_worker_restarts", "Entropy worker processes replaced because they died."
        )
        self.image_worker_restarts = declare.counter(
            "image_worker_restarts", "Image processes replaced because they died or were ended."
        )
        self.allocation_images = declare.histogram(
            "allocation_images", "Images that shared one budget.", _ALLOCATION_IMAGES
        )
        self.refinements = declare.counter(
            "refinements", "Pictures compressed with effort, by what became of it.", "outcome"
        )
        for direction in get_args(Direction):
            self.entropy_symbols.labels(direction)
        for transit in get_args(Transit):
            self.pixels.labels(transit)
            self.bytes.labels(transit)
        for outcome in get_args(Refined):
            self.refinements.labels(outcome)
        for codec in CodecKind:
            self.streams.labels(codec.name.lower())


class _DeviceMetrics:
    """The device that the networks run on, and its thread."""

    def __init__(self, declare: _Declare) -> None:
        self.up = declare.gauge(
            "device_up", "1 while the device thread runs and was seen lately, as /livez says; else 0."
        )
        self.heartbeat_age = declare.gauge(
            "device_heartbeat_age_seconds",
            "Since the device thread was last seen between two batches; +Inf when it has ended.",
        )
        self.out_of_memory = declare.counter(
            "device_out_of_memory", "Batches that the device had no memory for."
        )


class _StoreMetrics:
    """The stream store, local or in a bucket."""

    def __init__(self, declare: _Declare) -> None:
        self.errors = declare.counter(
            "store_errors", "Operations that the place behind the store failed.", "operation"
        )
        for operation in get_args(StoreOperation):
            self.errors.labels(operation)


class _WorkerMetrics:
    """The server processes of this service; `OfWorkers` tells of several."""

    def __init__(self, declare: _Declare) -> None:
        declare.gauge(_UP, "1 for a server process that this scrape has; else 0.", "worker").labels("0").set(
            1
        )
        declare.counter(_RESTARTS, "Server processes replaced because they died.", "worker").labels("0")


class _VersionMetrics:
    """The versions that run, as labels of metrics that are always 1."""

    def __init__(self, declare: _Declare) -> None:
        self.model = declare.gauge("model_info", "Models loaded.", "model", "model_id", "device")
        build = declare.gauge("build_info", "Versions running.", "version", "python", "torch")
        build.labels(__version__, platform.python_version(), torch.__version__).set(1)


class Metrics:
    """Every metric of the service. Safe to call from any thread."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        declare = _Declare(self.registry)
        self._requests = _RequestMetrics(declare)
        self._stages = _StageMetrics(declare)
        self._coding = _CodingMetrics(declare)
        self._device = _DeviceMetrics(declare)
        self._store = _StoreMetrics(declare)
        self._versions = _VersionMetrics(declare)
        _WorkerMetrics(declare)
        ProcessCollector(registry=self.registry)
        self._device_memory = _Late()
        self._store_use = _Late()
        self.registry.register(self._device_memory)
        self.registry.register(self._store_use)

    def initialise(self, routes: Iterable[tuple[str, str, int]], reasons: Iterable[str]) -> None:
        """Start the series of (route, method, status) and of rejection reasons at 0.

        Without that, a rate would miss the first event of each.
        """
        for route, method, status in routes:
            self._requests.answered.labels(route, method, str(status))
            self._requests.duration.labels(route)
        for reason in reasons:
            self._requests.rejected.labels(reason)

    async def families(self) -> list[Metric]:
        """Read everything, for another process to show."""
        return await asyncio.to_thread(lambda: list(self.registry.collect()))

    # Requests

    @contextmanager
    def in_flight(self) -> Iterator[None]:
        """Count a request as in flight while the body of the `with` runs."""
        with self._requests.in_flight.track_inprogress():
            yield

    def answered(self, route: str, method: str, status: int, seconds: float) -> None:
        """Record a request that ended after so many seconds.

        `route` is a template, never a path that a client chose.
        """
        self._requests.answered.labels(
            route, method if method in _KNOWN_METHODS else "other", str(status)
        ).inc()
        self._requests.duration.labels(route).observe(seconds)

    def refused(self, reason: str) -> None:
        """Record a request answered with a problem; `reason` is the last part of its `type`."""
        self._requests.rejected.labels(reason).inc()

    def refused_by_protocol(self, status: int) -> None:
        """Record a request that the protocol refused with one of `PROTOCOL_STATUSES`."""
        self._requests.protocol_refusals.labels(str(status)).inc()

    # Stages, queue and batches

    def stage(self, stage: Stage, seconds: float) -> None:
        """Record that a stage took so many seconds."""
        self._stages.duration.labels(stage).observe(seconds)

    @contextmanager
    def stage_timer(self, stage: Stage) -> Iterator[None]:
        """Record how long the body of the `with` takes, also when it fails."""
        begun = time.monotonic()
        try:
            yield
        finally:
            self.stage(stage, time.monotonic() - begun)

    def batch(self, images: int, *, pixels: int, padded_pixels: int) -> None:
        """Record a batch that the device ran.

        Of the `padded_pixels` that went through the network, `pixels` were pictures.
        """
        self._stages.batch_images.observe(images)
        self._stages.batch_padding_ratio.observe(1 - pixels / padded_pixels)

    def watch_queue(
        self,
        *,
        images: Callable[[], int],
        pixels: Callable[[], int],
        oldest_age: Callable[[], float],
        max_pixels: int,
    ) -> None:
        """Read the queue whenever Prometheus asks.

        The oldest entry's age is a duration in seconds, not a timestamp: an empty queue has no
        timestamp, and a monotonic clock has no epoch. Prometheus prefers timestamps because they
        cannot go stale; neither can an age that is computed at the scrape.
        """
        self._stages.queue_images.set_function(images)
        self._stages.queue_pixels.set_function(pixels)
        self._stages.queue_oldest_age.set_function(oldest_age)
        self._stages.queue_max_pixels.set(max_pixels)

    # Coding

    def compressed(self, stream: Stream) -> None:
        """Record a stream made: its size, and that size relative to the size asked for."""
        self._coding.streams.labels(stream.codec.name.lower()).inc()
        self._coding.pixels.labels("compress").inc(stream.width * stream.height)
        self._coding.bytes.labels("compress").inc(len(stream.data))
        self._coding.rate_bpp.observe(stream.bpp)
        self._coding.rate_missed.inc(not stream.target_met)
        if (asked := stream.target_bpp) is not None and not stream.target.minima:
            self._coding.rate_error_ratio.observe(stream.bpp / asked)

    def decompressed(self, pixels: int, stream_bytes: int) -> None:
        """Record a stream of so many bytes that was decoded."""
        self._coding.pixels.labels("decompress").inc(pixels)
        self._coding.bytes.labels("decompress").inc(stream_bytes)

    def enhanced(self, pixels: int, file_bytes: int) -> None:
        """Record a file of so many bytes whose picture was improved."""
        self._coding.pixels.labels("enhance").inc(pixels)
        self._coding.bytes.labels("enhance").inc(file_bytes)

    def entropy_coded(self, direction: Direction, symbols: int) -> None:
        """Record symbols that went through the range coder."""
        self._coding.entropy_symbols.labels(direction).inc(symbols)

    def refined(self, outcome: Refined) -> None:
        """Record the end of the effort for one picture."""
        self._coding.refinements.labels(outcome).inc()

    def entropy_worker_restarted(self) -> None:
        """Record that an entropy worker died and was replaced."""
        self._coding.entropy_worker_restarts.inc()

    def image_worker_restarted(self) -> None:
        """Record that an image process died, or was ended, and was replaced."""
        self._coding.image_worker_restarts.inc()

    def allocated(self, images: int) -> None:
        """Record that so many images shared one budget."""
        self._coding.allocation_images.observe(images)

    # Device

    def watch_device(
        self, device: str, *, up: Callable[[], bool], heartbeat_age: Callable[[], float]
    ) -> None:
        """Read the device's memory and the pulse of its thread whenever Prometheus asks.

        The pulse is an age in seconds, for the reasons that `watch_queue` gives.
        """
        self._device.up.set_function(up)
        self._device.heartbeat_age.set_function(heartbeat_age)
        self._device_memory.read = lambda: _device_memory(torch.device(device))

    def model_loaded(self, model: str, model_id: str, device: str) -> None:
        """Record that a model is ready on a device."""
        self._versions.model.labels(model, model_id, device).set(1)

    def out_of_memory(self) -> None:
        """Record a batch that the device had no memory for."""
        self._device.out_of_memory.inc()

    # Store

    def store_failed(self, operation: StoreOperation) -> None:
        """Record that the disk or the bucket behind the store failed."""
        self._store.errors.labels(operation).inc()

    def watch_store(
        self, *, stored_bytes: Callable[[], float], stored_objects: Callable[[], float], max_bytes: float
    ) -> None:
        """Read the bytes and streams in a local store whenever Prometheus asks.

        A bucket is not watched, and has no such series.
        """
        self._store_use.read = lambda: [
            GaugeMetricFamily(
                "ziggurat_store_bytes",
                "Bytes that streams take in the local store, in whole blocks.",
                stored_bytes(),
            ),
            GaugeMetricFamily("ziggurat_store_objects", "Streams in the local store.", stored_objects()),
            GaugeMetricFamily(
                "ziggurat_store_max_bytes",
                "Bytes that the local store keeps; +Inf without a quota.",
                max_bytes,
            ),
        ]


class OfWorkers(Collector):
    """The metrics of all workers, as one registry; every series has a label `worker`.

    Args:
        families: of each worker that answered, by its number.
        restarts: how often each worker was replaced.
    """

    def __init__(self, families: Mapping[int, Iterable[Metric]], restarts: Sequence[int]) -> None:
        self._families = families
        self._restarts = restarts

    def collect(self) -> Iterable[Metric]:
        """Merge families of one name, which must stand together."""
        merged: dict[str, Metric] = {}
        for worker, families in sorted(self._families.items()):
            for family in families:
                one = merged.setdefault(
                    family.name, Metric(family.name, family.documentation, family.type, family.unit)
                )
                one.samples += [
                    sample._replace(labels={"worker": str(worker), **sample.labels})
                    for sample in family.samples
                ]
        up, restarts = (merged[f"ziggurat_{name}"] for name in (_UP, _RESTARTS))
        up.samples, restarts.samples = [], []
        for worker, count in enumerate(self._restarts):
            labels = {"worker": str(worker)}
            up.add_sample(up.name, labels, float(worker in self._families))
            restarts.add_sample(f"{restarts.name}_total", labels, count)
        return merged.values()


class _Late(Collector):
    """Metrics that exist from the moment at which `read` is set."""

    read: Callable[[], Iterable[Metric]] = tuple

    def collect(self) -> Iterable[Metric]:
        return self.read()


def _device_memory(device: torch.device) -> Iterator[Metric]:
    """Read the memory of a device, in bytes.

    A GPU's is what PyTorch's allocator uses, what it holds, and what there is. A CPU's is the
    process's resident memory.
    """
    family = GaugeMetricFamily(
        "ziggurat_device_memory_bytes", "Memory of the device that the networks run on.", labels=["kind"]
    )
    if device.type == "cuda":
        family.add_metric(["allocated"], torch.cuda.memory_allocated(device))
        family.add_metric(["reserved"], torch.cuda.memory_reserved(device))
        family.add_metric(["total"], torch.cuda.get_device_properties(device).total_memory)
    elif (statm := Path("/proc/self/statm")).exists():  # on Linux
        family.add_metric(["resident"], int(statm.read_text().split()[1]) * getpagesize())
    yield family
