"""Soak test: many minutes of everything that users do, and then: is the service where it was?

    python -m benchmarks.soak [--minutes 20] [--rate 1.5] [--output soak.json]

Random arrivals (an open model) of uploads from 1x1 pixel to 24 megapixels in every format, both
directions, conditional requests, deletes, every kind of bad input, clients that hang up. After a
warm-up, and again after the load and a quiet minute, it looks at memory, descriptors, threads and
gauges. Prints tables, writes JSON, and exits with 1 when something was not as it should be.
Settings of the service come from the environment.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
import random
import sys
import time
from dataclasses import asdict, dataclass
from itertools import takewhile
from pathlib import Path
from tempfile import TemporaryDirectory

from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.open_model import Answer, Summary, arrivals, run
from benchmarks.pictures import SIZES, picture
from benchmarks.program import parser, write
from benchmarks.server import Footprint, Server, ask, client, value
from benchmarks.traffic import Traffic

SAMPLE_SECONDS = 5.0  # between two looks at the server's processes
PROBE_RATE = 5.0  # questions to /livez a second
IN_FLIGHT = "ziggurat_in_flight_requests"
QUEUED = "ziggurat_queue_images"
GAUGES = (IN_FLIGHT, QUEUED, "ziggurat_queue_pixels")
# Growth between the two quiet moments that is no leak.
RSS_GROWTH = 200 << 20  # bytes: an allocator's leftovers
COUNT_GROWTH = 5  # processes, descriptors or threads: a kept connection, a pool that filled up
ROWS = 20  # of the table of the footprint over time, about


@dataclass(frozen=True, slots=True)
class Sample:
    """One look at the server.

    Attributes:
        seconds: since the beginning.
        footprint: of its processes.
        gauges: by name.
    """

    seconds: float
    footprint: Footprint
    gauges: dict[str, float]


@dataclass(frozen=True, slots=True)
class Facts:
    """Figures of a soak test.

    Attributes:
        minutes: of load.
        rate: requests a second.
        load: all requests.
        operations: number of answers by kind of request and status.
        livez: the probes meanwhile.
        before: a quiet moment after the warm-up.
        after: a quiet moment after the load.
        samples: looks in between.
        faults: all that is not as it should be, in words.
    """

    minutes: float
    rate: float
    load: Summary
    operations: dict[str, dict[str, int]]
    livez: Summary
    before: Sample
    after: Sample
    samples: list[Sample]
    faults: list[str]


async def look(server: Server, begun: float) -> Sample:
    """Look at the server now. The request for the metrics itself does not count as in flight."""
    samples = await server.metrics()
    gauges = {name: value(samples, name) for name in GAUGES}
    gauges[IN_FLIGHT] -= 1
    return Sample(time.monotonic() - begun, await asyncio.to_thread(server.footprint), gauges)


async def watch(server: Server, begun: float, samples: list[Sample]) -> None:
    """Look every few seconds until cancelled."""
    while True:
        samples.append(await look(server, begun))
        await asyncio.sleep(SAMPLE_SECONDS)


async def warm_up(server: Server) -> dict[str, bytes]:
    """Send every size once each way, two at a time; returns the streams by their ids.

    A service that has run for long has allocated that much anyway.
    """
    stored = {}
    async with client() as http:
        slots = asyncio.Semaphore(2)

        async def there_and_back(width: int, height: int, image_format: str) -> None:
            async with slots:
                body = picture(width, height, image_format)
                stream = await http.post(f"{server.url}/compress?bpp=0.2", content=body)
                # A machine may be too slow for the largest within the deadline.
                if stream.status_code == 201:
                    await http.post(f"{server.url}/decompress", content=stream.content)
                    stored[stream.headers["location"].rpartition("/")[2]] = stream.content

        await asyncio.gather(*(there_and_back(*entry[:3]) for entry in SIZES))
    return stored


async def soak(arguments: argparse.Namespace) -> Facts:
    """Run the soak test."""
    for entry in SIZES:
        picture(*entry[:3])  # made now, it takes no time of the load
    begun = time.monotonic()
    samples: list[Sample] = []
    with TemporaryDirectory(prefix="ziggurat-soak-") as folder:
        async with Server(arguments.log, store=os.environ.get("ZIGGURAT_STORE", folder)) as server:
            stored = await warm_up(server)
            await asyncio.sleep(arguments.quiet)
            before = await look(server, begun)
            async with client() as http:
                traffic = Traffic(server, http, random.Random(arguments.seed), stored)
                watching = asyncio.create_task(watch(server, begun, samples))

                async def livez() -> Answer:
                    return Answer("livez", await ask(server.host, server.port, "/livez"))

                due = arrivals(arguments.rate, 60 * arguments.minutes, random.Random(1))
                load = asyncio.create_task(run(due, traffic.operation))
                probes_due = takewhile(lambda _: not load.done(), arrivals(PROBE_RATE, math.inf))
                probing = asyncio.create_task(run(probes_due, livez))
                answers = await load
                probes = await probing
                watching.cancel()
            await asyncio.sleep(arguments.quiet)
            after = await look(server, begun)
    return Facts(
        minutes=arguments.minutes,
        rate=arguments.rate,
        load=Summary.of(answers),
        operations=_statuses(answers),
        livez=Summary.of(probes),
        before=before,
        after=after,
        samples=samples,
        faults=faults(before, after, answers, traffic),
    )


def _statuses(answers: list[Answer]) -> dict[str, dict[str, int]]:
    by_name: dict[str, list[Answer]] = {}
    for answer in answers:
        by_name.setdefault(answer.operation, []).append(answer)
    return {name: Summary.of(by_name[name]).statuses for name in sorted(by_name)}


def faults(before: Sample, after: Sample, answers: list[Answer], traffic: Traffic) -> list[str]:
    """List what is not as it should be, in words."""
    found = [f"{what}, {count} times" for what, count in traffic.unexpected.items()]
    found += [
        f"{answer.operation or 'a request'}: no answer: {answer.error}"
        for answer in answers
        if answer.status == 0
    ]
    found += [f"{name} is {number:g} in a quiet moment" for name, number in after.gauges.items() if number]
    old = before.footprint
    new = after.footprint
    growth = {
        "processes": new.processes - old.processes,
        "descriptors": new.descriptors - old.descriptors,
        "threads": new.threads - old.threads,
    }
    found += [f"{more} more {name}" for name, more in growth.items() if more > COUNT_GROWTH]
    if new.rss - old.rss > RSS_GROWTH:
        found.append(f"{(new.rss - old.rss) >> 20} MiB more memory")
    return found


def report(facts: Facts, console: Console) -> None:
    """Print tables of operations and of the footprint over time."""
    table = Table("operation", "statuses", box=box.SIMPLE)
    for name, statuses in facts.operations.items():
        table.add_row(name, " ".join(f"{status}: {count}" for status, count in statuses.items()))
    console.print(table)
    headings = ("minute", "RSS MiB", "descriptors", "threads", "processes", "in flight", "queued")
    table = Table(*headings, box=box.SIMPLE)
    between = facts.samples[:: max(1, len(facts.samples) // ROWS)]
    for sample in [facts.before, *between, facts.after]:
        table.add_row(
            f"{sample.seconds / 60:.1f}",
            str(sample.footprint.rss >> 20),
            str(sample.footprint.descriptors),
            str(sample.footprint.threads),
            str(sample.footprint.processes),
            f"{sample.gauges[IN_FLIGHT]:g}",
            f"{sample.gauges[QUEUED]:g}",
        )
    console.print(table)


def main() -> None:
    """Run, print, write; exit code 1 when there are faults."""
    options = parser(__doc__, "soak.json")
    options.add_argument("--minutes", type=float, default=20.0)
    options.add_argument("--rate", type=float, default=1.5, help="requests a second, random arrivals")
    options.add_argument(
        "--quiet",
        type=float,
        default=60.0,
        help="seconds without load before each of the two comparisons",
    )
    options.add_argument("--seed", type=int, default=0, help="of what is sent")
    options.add_argument(
        "--log", type=Path, default=Path("soak-server.log"), help="where the server's log goes"
    )
    arguments = options.parse_args()
    facts = asyncio.run(soak(arguments))
    write(arguments.output, asdict(facts))
    report(facts, Console(width=140))
    print(json.dumps({"load": asdict(facts.load), "livez": asdict(facts.livez)}, indent=2))
    for fault in facts.faults:
        print(f"FAULT: {fault}")
    sys.exit(bool(facts.faults))


if __name__ == "__main__":
    main()
