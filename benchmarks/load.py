"""Capacity of the service, and its behaviour at and beyond that.

    python -m benchmarks.load kodak/ [--seconds 30] [--output load.json]

Starts the service on a free port, measures its capacity with enough requests always waiting (a
closed model), then offers constant rates below and above it (an open model). Tells of each rate:
throughput, latencies from when a request was due, refusals, batch sizes and queue time from
/metrics, and how /livez answered when asked every 20 ms. Settings of the service come from the
environment. Prints a table and writes JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import os
import random
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import cycle, takewhile
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx2
from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.open_model import Answer, Summary, arrivals, run
from benchmarks.program import add_folder, files_of, parser, write
from benchmarks.server import Samples, Server, ask, client, value

PROBE_RATE = 50.0  # questions to /livez a second
IDLE_SECONDS = 3.0  # that an idle server's /livez is asked for
WARM_UP_SECONDS = 3.0  # the first batches of a shape are slower
# Beginnings of the settings that matter.
SETTINGS = (
    "ZIGGURAT_MAX",
    "ZIGGURAT_DEVICE",
    "ZIGGURAT_THREADS",
    "ZIGGURAT_IMAGE",
    "ZIGGURAT_ENTROPY",
    "ZIGGURAT_REQUEST",
)


@dataclass(frozen=True, slots=True)
class Step:
    """One offered rate.

    Attributes:
        offered: requests per second.
        throughput: compressions per second.
        load: the compressions.
        livez: the probes meanwhile.
        batch_images: pictures of a batch, mean.
        batch_sizes: number of batches by the upper edge of their bucket.
        queue_seconds: time in the queue, mean.
    """

    offered: float
    throughput: float
    load: Summary
    livez: Summary
    batch_images: float
    batch_sizes: dict[str, int]
    queue_seconds: float


class Load:
    """Compressions of a set of pictures over and over."""

    def __init__(self, server: Server, http: httpx2.AsyncClient, bodies: list[bytes], query: str) -> None:
        self._server = server
        self._http = http
        self._query = query
        self._bodies = cycle(bodies)

    async def compress(self) -> Answer:
        """Send one request, with the next picture."""
        answer = await self._http.post(
            f"{self._server.url}/compress?{self._query}", content=next(self._bodies)
        )
        return Answer("compress", answer.status_code, retry_after=answer.headers.get("retry-after"))

    async def livez(self) -> Answer:
        """Probe once."""
        return Answer("livez", await ask(self._server.host, self._server.port, "/livez"))

    async def capacity(self, concurrency: int, seconds: float) -> tuple[float, Summary]:
        """Measure requests per second with `concurrency` always waiting, and /livez meanwhile."""
        end = time.perf_counter() + seconds

        async def one_after_another() -> int:
            done = 0
            while time.perf_counter() < end:
                done += (await self.compress()).status == 201
            return done

        begun = time.perf_counter()
        loading = asyncio.gather(*(one_after_another() for _ in range(concurrency)))
        probing = asyncio.create_task(run(_until(loading), self.livez))
        done = sum(await loading)
        return done / (time.perf_counter() - begun), Summary.of(await probing)

    async def step(self, rate: float, seconds: float, rng: random.Random | None) -> Step:
        """Offer `rate` for `seconds`, until the last answer."""
        before = await self._server.metrics()
        begun = time.perf_counter()
        loading = asyncio.create_task(run(arrivals(rate, seconds, rng), self.compress))
        probing = asyncio.create_task(run(_until(loading), self.livez))
        answers = await loading
        probes = await probing
        elapsed = time.perf_counter() - begun
        after = await self._server.metrics()
        done = sum(answer.status == 201 for answer in answers)
        return Step(
            offered=rate,
            throughput=done / elapsed,
            load=Summary.of(answers),
            livez=Summary.of(probes),
            batch_images=_mean(before, after, "ziggurat_batch_images"),
            batch_sizes=_buckets(before, after, "ziggurat_batch_images"),
            queue_seconds=_mean(before, after, "ziggurat_stage_duration_seconds", stage="queue"),
        )


def _until(load: asyncio.Future[Any]) -> Iterator[float]:
    return takewhile(lambda _: not load.done(), arrivals(PROBE_RATE, math.inf))


def _mean(before: Samples, after: Samples, name: str, **labels: str) -> float:
    total, count = (
        value(after, f"{name}_{part}", **labels) - value(before, f"{name}_{part}", **labels)
        for part in ("sum", "count")
    )
    return total / count if count else 0.0


def _buckets(before: Samples, after: Samples, name: str) -> dict[str, int]:
    """Count between two bucket edges, by the upper one."""
    bucket = f"{name}_bucket"
    edges = sorted((dict(labels)["le"] for sample, labels in after if sample == bucket), key=float)
    grown = [value(after, bucket, le=edge) - value(before, bucket, le=edge) for edge in edges]
    return {
        edge: int(upper - lower)
        for edge, upper, lower in zip(edges, grown, [0.0, *grown], strict=False)
        if upper > lower
    }


async def measure(arguments: argparse.Namespace, bodies: list[bytes], console: Console) -> dict[str, object]:
    """Run all steps; returns them with the facts that they stand on."""
    rng = random.Random(0) if arguments.poisson else None
    with TemporaryDirectory(prefix="ziggurat-load-") as folder:
        async with (
            Server(arguments.log, store=os.environ.get("ZIGGURAT_STORE", folder)) as server,
            client() as http,
        ):
            load = Load(server, http, bodies, arguments.query)
            await load.capacity(arguments.concurrency, WARM_UP_SECONDS)
            capacity, saturated = await load.capacity(arguments.concurrency, arguments.seconds)
            always = f"with {arguments.concurrency} always waiting"
            console.print(f"capacity: {capacity:.2f} compressions a second {always}")
            idle = Summary.of(await run(arrivals(PROBE_RATE, IDLE_SECONDS), load.livez))
            steps = []
            for factor in arguments.factors:
                steps.append(await load.step(factor * capacity, arguments.seconds, rng))
                console.print(f"{factor:g} x capacity: done")
    console.print(_table(steps, capacity))
    for when, livez in {"idle": idle, always: saturated}.items():
        times = f"p50 {livez.p50_ms:.1f} ms, p99 {livez.p99_ms:.1f} ms"
        console.print(f"/livez {when}: {times}, at most {livez.max_ms:.1f} ms")
    return {
        "capacity": capacity,
        "concurrency": arguments.concurrency,
        "query": arguments.query,
        "arrivals": "poisson" if arguments.poisson else "constant",
        "load_average": os.getloadavg()[0],
        "settings": {name: setting for name, setting in os.environ.items() if name.startswith(SETTINGS)},
        "livez_idle": asdict(idle),
        "livez_saturated": asdict(saturated),
        "steps": [asdict(step) for step in steps],
    }


def _table(steps: list[Step], capacity: float) -> Table:
    table = Table(box=box.SIMPLE, title="compressions, by offered rate; latencies in ms")
    columns = (
        "offered/s",
        "of capacity",
        "done/s",
        "p50",
        "p95",
        "p99",
        "statuses",
        "batch",
        "queue s",
        "/livez p50",
        "p99",
        "max",
        "sent late p99",
    )
    for column in columns:
        table.add_column(column, justify="right")
    for step in steps:
        load = step.load
        livez = step.livez
        table.add_row(
            f"{step.offered:.2f}",
            f"{step.offered / capacity:.2f}",
            f"{step.throughput:.2f}",
            f"{load.p50_ms:.0f}",
            f"{load.p95_ms:.0f}",
            f"{load.p99_ms:.0f}",
            " ".join(f"{status}: {count}" for status, count in load.statuses.items()),
            f"{step.batch_images:.1f}",
            f"{step.queue_seconds:.2f}",
            f"{livez.p50_ms:.1f}",
            f"{livez.p99_ms:.1f}",
            f"{livez.max_ms:.1f}",
            f"{load.late_p99_ms:.1f}",
        )
    return table


def main() -> None:
    """Measure, print and write."""
    options = parser(__doc__, "load.json")
    add_folder(options)
    options.add_argument("--seconds", type=float, default=30.0, help="of each rate")
    options.add_argument(
        "--factors",
        type=float,
        nargs="+",
        default=[0.5, 0.75, 0.9, 1.1, 1.5],
        help="rates as parts of the capacity",
    )
    options.add_argument(
        "--concurrency",
        type=int,
        default=16,
        help="requests always waiting while the capacity is measured",
    )
    options.add_argument("--poisson", action="store_true", help="random arrivals instead of a constant rate")
    options.add_argument("--query", default="bpp=0.15", help="of /compress")
    options.add_argument(
        "--log", type=Path, default=Path("load-server.log"), help="where the server's log goes"
    )
    arguments = options.parse_args()
    bodies = [path.read_bytes() for path in files_of(arguments.folder)]
    write(arguments.output, asyncio.run(measure(arguments, bodies, Console(width=180))))


if __name__ == "__main__":
    main()
