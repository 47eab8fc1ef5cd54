"""One fault under load: the compressions and probes around it, and the promises about them."""

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

DECODED_STREAMS = 5  # of the acknowledged ones, all of which are compared
PROBE_RATE = 4.0  # questions to the health endpoints a second
EXPECTED_STATUSES = {0, 201, 429, 503, 507}  # 0: no answer, which is judged by itself


@dataclass
class Trial:
    """One fault: all that was asked, what came of it, and which promises were broken.

    Times are those of `time.monotonic`.

    Attributes:
        name: of the fault.
        answers: of compressions, with the time that each was due.
        health: of probes: time, path, and status, which is 0 when nobody listens.
        acknowledged: streams by their ids.
        fault_at: time of the fault.
        gone: times between which the process was not to be reached.
        broken: promises, in words.
        notes: of the fault itself.
    """

    name: str
    answers: list[tuple[float, Answer]] = field(default_factory=list)
    health: list[tuple[float, str, int]] = field(default_factory=list)
    acknowledged: dict[str, bytes] = field(default_factory=dict)
    fault_at: float = math.inf
    gone: tuple[float, float] = (math.inf, math.inf)
    broken: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def promise(self, kept: bool, words: str) -> None:
        """Remember a promise that was not kept."""
        if not kept:
            self.broken.append(words)

    def healths(self, path: str, *, after: float, before: float = math.inf) -> list[int]:
        """List the statuses of /livez or /readyz in a span of time."""
        return [status for when, asked, status in self.health if asked == path and after < when < before]


class Load:
    """Compressions of small pictures, each to a quality of its own: no two make the same stream.

    Args:
        server: where requests go.
        trial: takes note of the answers.
        rate: compressions a second.
        seconds: of load.
    """

    def __init__(self, server: Server, trial: Trial, rate: float, seconds: float) -> None:
        self._server = server
        self._trial = trial
        self._rate = rate
        self._seconds = seconds
        self._rng = random.Random(trial.name)

    async def compress(self) -> Answer:
        """Compress once, on a connection of its own."""
        due = time.monotonic()
        query = f"quality={self._rng.uniform(20, 80):.4f}"
        body = picture(320, 240, "JPEG")
        try:
            async with client() as http:
                url = f"{self._server.url}/compress?{query}"
                answer = await http.post(url, content=body, headers={"Connection": "close"})
        except FAILURES as error:
            self._trial.answers.append((due, Answer("compress", 0, error=type(error).__name__)))
            raise
        if answer.status_code == 201:
            stream_id = answer.headers["location"].rpartition("/")[2]
            self._trial.acknowledged[stream_id] = answer.content
        retry_after = answer.headers.get("retry-after")
        result = Answer("compress", answer.status_code, retry_after=retry_after)
        self._trial.answers.append((due, result))
        return result

    async def probe(self) -> Answer:
        """Ask both health endpoints."""
        for path in ("/livez", "/readyz"):
            when = time.monotonic()
            try:
                status = await ask(self._server.host, self._server.port, path)
            except FAILURES:
                status = 0
            self._trial.health.append((when, path, status))
        return Answer("health", 200)

    async def run(self, fault: Callable[[], Awaitable[None]]) -> None:
        """Load the server from before the fault to after it, and wait for every request's end."""
        loading = asyncio.create_task(run(arrivals(self._rate, self._seconds), self.compress))
        probes_due = takewhile(lambda _: not loading.done(), arrivals(PROBE_RATE, math.inf))
        probing = asyncio.create_task(run(probes_due, self.probe))
        await asyncio.sleep(self._seconds / 3)
        self._trial.fault_at = time.monotonic()
        await fault()
        await loading
        await probing


async def check_streams(trial: Trial, server: Server) -> None:
    """Check that every acknowledged stream is there as it was, and that some decode."""
    lost = 0
    different = 0
    async with client() as http:
        for stream_id, stream in trial.acknowledged.items():
            answer = await http.get(f"{server.url}/bitstreams/{stream_id}")
            lost += answer.status_code != 200
            different += answer.status_code == 200 and answer.content != stream
        for stream_id in list(trial.acknowledged)[-DECODED_STREAMS:]:
            answer = await http.get(f"{server.url}/decompress/{stream_id}")
            decodes = answer.status_code == 200
            trial.promise(decodes, f"an acknowledged stream does not decode: {answer.status_code}")
    count = len(trial.acknowledged)
    trial.promise(count > 0, "something was acknowledged")
    kept = not lost and not different
    trial.promise(kept, f"of {count} acknowledged streams {lost} are lost, {different} changed")


def check_answers(trial: Trial) -> None:
    """Check that every request has an answer, apart from those of a process that is gone."""
    begun, ended = trial.gone
    silent = [
        answer.error for due, answer in trial.answers if not answer.status and not begun <= due <= ended
    ]
    trial.promise(not silent, f"{len(silent)} requests without an answer: {dict(Counter(silent))}")
    wrong = Counter(answer.status for _, answer in trial.answers if answer.status not in EXPECTED_STATUSES)
    trial.promise(not wrong, f"answers that nobody expects: {dict(wrong)}")
    hurried = [
        answer
        for _, answer in trial.answers
        if answer.status in {429, 503} and not (answer.retry_after or "").isdecimal()
    ]
    trial.promise(not hurried, f"{len(hurried)} refusals without Retry-After")
