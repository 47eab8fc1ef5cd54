"""Load by an open model: requests begin when they are due, whether or not earlier ones were answered, and their latency counts from then.

A closed model (so many users, each waits for its answer) asks less the slower the service gets, and so never sees the queue that its real
users would stand in; latency counted from when a late generator got round to sending hides it once more. Locust is closed: its pacing
(`constant_throughput`) falls behind when an answer takes longer than the pace, and it counts from when it sent. Hence these few lines.
"""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass

import httpx2
import numpy as np

FAILURES = (httpx2.TransportError, OSError, ValueError, IndexError)  # ValueError, IndexError: an answer that ends in its status line


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of one request. `status` is 0 when there was no answer, and `error` then says why; times are in seconds."""

    operation: str
    status: int
    seconds: float = 0.0  # from when it was due
    late: float = 0.0  # by which the generator itself sent it late
    retry_after: str | None = None
    error: str = ""


Operation = Callable[[], Awaitable[Answer]]


def arrivals(rate: float, seconds: float, rng: random.Random | None = None) -> Iterator[float]:
    """When requests are due, in seconds from the beginning: at a constant rate, or with `rng` a Poisson process of that rate."""
    due = 0.0
    while due < seconds:
        yield due
        due += rng.expovariate(rate) if rng else 1 / rate


async def run(schedule: Iterator[float], operation: Operation) -> list[Answer]:
    """Begin one `operation` at each time of the schedule, and wait for all of them."""
    begun = time.perf_counter()

    async def timed(due: float) -> Answer:
        late = time.perf_counter() - begun - due
        try:
            answer = await operation()
        except FAILURES as error:
            answer = Answer("", 0, error=type(error).__name__)
        return Answer(answer.operation, answer.status, time.perf_counter() - begun - due, late, answer.retry_after, answer.error)

    tasks = []
    for due in schedule:
        await asyncio.sleep(due + begun - time.perf_counter())
        tasks.append(asyncio.create_task(timed(due)))
    return await asyncio.gather(*tasks)


@dataclass(frozen=True, slots=True)
class Summary:
    """Of many answers; latencies in milliseconds, of those answered with 2xx or 3xx."""

    requests: int
    p50_ms: float
    p95_ms: float
    p99_ms: float
    max_ms: float
    late_p99_ms: float  # of all; much of it would mean that the generator could not keep the schedule
    statuses: dict[str, int]
    errors: dict[str, int]
    without_retry_after: int  # of 429 and 503

    @classmethod
    def of(cls, answers: list[Answer]) -> Summary:
        """Percentiles and counts; NaN when nothing succeeded."""
        done = [1000 * answer.seconds for answer in answers if 200 <= answer.status < 400]
        p50, p95, p99, largest = (float(np.percentile(done, rank)) if done else math.nan for rank in (50, 95, 99, 100))
        return cls(
            requests=len(answers),
            p50_ms=p50,
            p95_ms=p95,
            p99_ms=p99,
            max_ms=largest,
            late_p99_ms=float(np.percentile([1000 * answer.late for answer in answers], 99)) if answers else math.nan,
            statuses=dict(sorted(Counter(str(answer.status) for answer in answers).items())),
            errors=dict(Counter(answer.error for answer in answers if answer.error)),
            without_retry_after=sum(answer.status in {429, 503} and not (answer.retry_after or "").isdecimal() for answer in answers),
        )
