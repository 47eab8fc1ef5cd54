"""Load by an open model: requests begin when they are due, whatever became of earlier ones.

Their latency counts from then. A closed model (so many users, each waits for its answer) asks less
the slower the service gets, and so never sees the queue that its real users would stand in; latency
counted from when a late generator got round to sending hides it once more. Locust is closed: its
pacing (`constant_throughput`) falls behind when an answer takes longer than the pace, and it counts
from when it sent. Hence these few lines.
"""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, replace

import httpx2
import numpy as np

# The last two are of an answer that ends in its status line.
FAILURES = (httpx2.TransportError, OSError, ValueError, IndexError)


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer to one request.

    Attributes:
        operation: kind of the request.
        status: of HTTP; 0 when there was no answer.
        seconds: latency, from when the request was due.
        late: seconds by which the generator itself sent it late.
        retry_after: the header.
        error: why there was no answer.
    """

    operation: str
    status: int
    seconds: float = 0.0
    late: float = 0.0
    retry_after: str | None = None
    error: str = ""


Operation = Callable[[], Awaitable[Answer]]


def arrivals(rate: float, seconds: float, rng: random.Random | None = None) -> Iterator[float]:
    """Say when requests are due, in seconds from the beginning.

    Args:
        rate: requests a second.
        seconds: until the last request.
        rng: makes a Poisson process of that rate; without it the rate is constant.
    """
    due = 0.0
    while due < seconds:
        yield due
        due += rng.expovariate(rate) if rng else 1 / rate


async def run(schedule: Iterator[float], operation: Operation) -> list[Answer]:
    """Begin one operation at each time of the schedule, and wait for all of them."""
    begun = time.perf_counter()

    async def timed(due: float) -> Answer:
        late = time.perf_counter() - begun - due
        try:
            answer = await operation()
        except FAILURES as error:
            answer = Answer("", 0, error=type(error).__name__)
        return replace(answer, seconds=time.perf_counter() - begun - due, late=late)

    tasks = []
    for due in schedule:
        await asyncio.sleep(due + begun - time.perf_counter())
        tasks.append(asyncio.create_task(timed(due)))
    return await asyncio.gather(*tasks)


@dataclass(frozen=True, slots=True)
class Summary:
    """Figures over many answers; latencies are of those with a status of 2xx or 3xx.

    Attributes:
        requests: number of them.
        p50_ms: median latency in milliseconds.
        p95_ms: 95th percentile.
        p99_ms: 99th percentile.
        max_ms: largest latency.
        late_p99_ms: of all requests; much of it would mean that the generator could not keep the
            schedule.
        statuses: number of answers by status.
        errors: number of requests without an answer by error.
        without_retry_after: number of 429 and 503 without that header.
    """

    requests: int
    p50_ms: float
    p95_ms: float
    p99_ms: float
    max_ms: float
    late_p99_ms: float
    statuses: dict[str, int]
    errors: dict[str, int]
    without_retry_after: int

    @classmethod
    def of(cls, answers: list[Answer]) -> Summary:
        """Compute percentiles and counts; NaN when nothing succeeded."""
        done = [1000 * answer.seconds for answer in answers if 200 <= answer.status < 400]
        late = [1000 * answer.late for answer in answers]
        return cls(
            requests=len(answers),
            p50_ms=_percentile(done, 50),
            p95_ms=_percentile(done, 95),
            p99_ms=_percentile(done, 99),
            max_ms=_percentile(done, 100),
            late_p99_ms=_percentile(late, 99),
            statuses=dict(sorted(Counter(str(answer.status) for answer in answers).items())),
            errors=dict(Counter(answer.error for answer in answers if answer.error)),
            without_retry_after=sum(
                answer.status in {429, 503} and not (answer.retry_after or "").isdecimal()
                for answer in answers
            ),
        )


def _percentile(values: list[float], rank: float) -> float:
    return float(np.percentile(values, rank)) if values else math.nan
