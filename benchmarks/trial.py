"""One fault under load: the compressions and probes around it, and what must be true of them afterwards."""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from itertools import takewhile

from benchmarks.open_model import FAILURES, Answer, arrivals, run
from benchmarks.pictures import picture
from benchmarks.server import Server, ask, client

DECODED = 5  # acknowledged streams that are decoded again, of all that are compared


@dataclass
class Trial:
    """One fault: what was asked, what came of it, and which promises were broken."""

    name: str
    answers: list[tuple[float, Answer]] = field(default_factory=list)  # with when each was due
    health: list[tuple[float, str, int]] = field(default_factory=list)  # when, path, status (0: nobody listens)
    acknowledged: dict[str, bytes] = field(default_factory=dict)
    fault_at: float = float("inf")
    gone: tuple[float, float] = (float("inf"), float("inf"))  # from when to when the process was not to be reached
    broken: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def promise(self, kept: bool, words: str) -> None:
        """Remember what was not kept."""
        if not kept:
            self.broken.append(words)

    def healths(self, path: str, *, after: float, before: float = float("inf")) -> list[int]:
        """Statuses of /livez or /readyz in a span of time."""
        return [status for when, asked, status in self.health if asked == path and after < when < before]


class Load:
    """Compressions of small pictures, each to a quality of its own, so that no two make the same stream."""

    def __init__(self, server: Server, trial: Trial, rate: float, seconds: float) -> None:
        self._server, self._trial, self._rate, self._seconds = server, trial, rate, seconds
        self._rng = random.Random(trial.name)

    async def compress(self) -> Answer:
        """One, on a connection of its own."""
        due = time.monotonic()
        query = f"quality={self._rng.uniform(20, 80):.4f}"
        body = picture(320, 240, "JPEG")
        try:
            async with client() as http:
                answer = await http.post(f"{self._server.url}/compress?{query}", content=body, headers={"Connection": "close"})
        except FAILURES as error:
            self._trial.answers.append((due, Answer("compress", 0, error=type(error).__name__)))
            raise
        if answer.status_code == 201:
            self._trial.acknowledged[answer.headers["location"].rpartition("/")[2]] = answer.content
        result = Answer("compress", answer.status_code, retry_after=answer.headers.get("retry-after"))
        self._trial.answers.append((due, result))
        return result

    async def probe(self) -> Answer:
        """Both health endpoints."""
        for path in ("/livez", "/readyz"):
            when = time.monotonic()
            try:
                status = await ask(self._server.host, self._server.port, path)
            except FAILURES:
                status = 0
            self._trial.health.append((when, path, status))
        return Answer("health", 200)

    async def run(self, fault: Callable[[], Awaitable[None]]) -> None:
        """Load from before the fault to after it; every request has come to its end."""
        loading = asyncio.create_task(run(arrivals(self._rate, self._seconds), self.compress))
        probing = asyncio.create_task(run(takewhile(lambda _: not loading.done(), arrivals(4, math.inf)), self.probe))
        await asyncio.sleep(self._seconds / 3)
        self._trial.fault_at = time.monotonic()
        await fault()
        await loading
        await probing


async def check_streams(trial: Trial, server: Server) -> None:
    """Every acknowledged stream is there, as it was acknowledged; some are decoded."""
    lost = different = 0
    async with client() as http:
        for stream_id, stream in trial.acknowledged.items():
            answer = await http.get(f"{server.url}/bitstreams/{stream_id}")
            lost += answer.status_code != 200
            different += answer.status_code == 200 and answer.content != stream
        for stream_id in list(trial.acknowledged)[-DECODED:]:
            answer = await http.get(f"{server.url}/decompress/{stream_id}")
            trial.promise(answer.status_code == 200, f"an acknowledged stream does not decode: {answer.status_code}")
    trial.promise(bool(trial.acknowledged), "something was acknowledged")
    trial.promise(not lost and not different, f"of {len(trial.acknowledged)} acknowledged streams {lost} are lost, {different} changed")


def check_answers(trial: Trial) -> None:
    """Every request has an answer, apart from those of a process that is gone."""
    begun, ended = trial.gone
    silent = [answer.error for due, answer in trial.answers if not answer.status and not begun <= due <= ended]
    trial.promise(not silent, f"{len(silent)} requests without an answer: {dict(Counter(silent))}")
    wrong = Counter(answer.status for _, answer in trial.answers if answer.status not in {0, 201, 429, 503, 507})
    trial.promise(not wrong, f"answers that nobody expects: {dict(wrong)}")
    hurried = [a for _, a in trial.answers if a.status in {429, 503} and not (a.retry_after or "").isdecimal()]
    trial.promise(not hurried, f"{len(hurried)} refusals without Retry-After")
