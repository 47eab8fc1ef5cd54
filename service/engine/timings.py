"""The one measurement of how long a stage takes: for Prometheus, for the request's own account, and
for its trace.

Prometheus gets the work alone, so that a histogram shows how fast a stage is. The request and its
trace also get the wait for a thread or a worker, so that the stages add up to about what the client
waited.

The device is measured elsewhere, because it works for many requests at once: `DeviceThread` counts
the queue for each job, `DeviceModel` the device for each batch, and `Stages.on_device` adds to the
request and its trace what its jobs say.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, NamedTuple

from .. import tracing
from ..metrics import Metrics, Stage

TimingName = Literal["decode", "queue", "device", "entropy", "avif", "finish", "encode", "store"]
"""A name in a request's account, as clients see it in `Server-Timing`."""


class Step(NamedTuple):
    """One thing that is done for requests.

    Attributes:
        stage: where Prometheus counts it.
        name: where the request's account has it; None leaves it out.
    """

    stage: Stage
    name: TimingName | None


READ_HEADER = Step("header", None)
DECODE = Step("decode", "decode")
DECODE_AV1 = Step("decode", "avif")
FINISH = Step("decode", "finish")
CODE_ENTROPY = Step("entropy", "entropy")
ENCODE_ALPHA = Step("encode", None)
LOOK = Step("decode", None)
SEARCH_AVIF = Step("encode", "avif")
ENCODE = Step("encode", "encode")
STORE = Step("store", "store")


class Timings:
    """Seconds that one request spent, by name, in the order in which the names were first met.

    Under `auto` both codecs work at the same time, so that the sum may be more than passed by the
    clock.
    """

    def __init__(self) -> None:
        self.seconds: dict[TimingName, float] = {}

    def add(self, name: TimingName, seconds: float) -> None:
        """Add to what the request has spent under this name."""
        self.seconds[name] = self.seconds.get(name, 0.0) + seconds

    def begin_coding(self) -> None:
        """Name the stages of the learned codec, in this order, even if none will take any time."""
        for name in ("queue", "device", "entropy"):
            self.add(name, 0.0)


class StageTimer:
    """Records durations.

    Args:
        metrics: of the service.
    """

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    @contextmanager
    def timed(
        self, step: Step, timings: Timings | None = None, *, since: float | None = None
    ) -> Iterator[None]:
        """Record how long the body of the `with` takes, also when it fails.

        Args:
            step: what the body does.
            timings: account of the request that it does it for; None where none is kept.
            since: when the request began to wait for the body, on `time.monotonic`'s clock; None
                where it did not wait.
        """
        begun = time.monotonic()
        since = begun if since is None else since
        try:
            yield
        finally:
            ended = time.monotonic()
            self._metrics.stage(step.stage, ended - begun)
            if timings is not None and step.name is not None:
                timings.add(step.name, ended - since)
            if (trace := tracing.current()) is not None:
                trace.stage(step.name or step.stage, since, ended)
