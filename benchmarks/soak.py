"""Many minutes of everything that users do, and then: is the service where it was?

    python -m benchmarks.soak [--minutes 20] [--rate 1.5] [--output soak.json]

Random arrivals (an open model) of uploads from 1x1 pixel to 24 megapixels in every format, both directions, conditional requests,
deletes, every kind of bad input, clients that hang up. After a warm-up, and again after the load and a quiet minute, it looks at memory,
descriptors, threads and gauges. Prints tables, writes JSON, and exits with 1 when something was not as it should be. Settings of the
service come from the environment.
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
from benchmarks.server import Footprint, Server, ask, client, value
from benchmarks.traffic import Traffic

SAMPLE = 5.0  # seconds between two looks at the server's processes
GAUGES = ("ziggurat_in_flight_requests", "ziggurat_queue_images", "ziggurat_queue_pixels")
RSS_GROWTH = 200 << 20  # bytes between the two quiet moments that an allocator's leftovers may account for
SLACK = 5  # descriptors or threads: a connection that a client keeps, a pool that filled up


@dataclass(frozen=True, slots=True)
class Sample:
    """One look at the server."""

    seconds: float
    footprint: Footprint
    gauges: dict[str, float]


@dataclass(frozen=True, slots=True)
class Facts:
    """What was sent and what became of it; `operations` are statuses by kind of request, `faults` what is not as it should be, in words."""

    minutes: float
    rate: float
    cores: int | None
    load: Summary
    operations: dict[str, dict[str, int]]
    livez: Summary
    before: Sample
    after: Sample
    samples: list[Sample]
    faults: list[str]


async def look(server: Server, begun: float) -> Sample:
    """Now. The request for the metrics itself is not counted as in flight."""
    samples = await server.metrics()
    gauges = {name: value(samples, name) for name in GAUGES}
    gauges[GAUGES[0]] -= 1
    return Sample(time.monotonic() - begun, await asyncio.to_thread(server.footprint), gauges)


async def watch(server: Server, begun: float, samples: list[Sample]) -> None:
    """Look every few seconds until cancelled."""
    while True:
        samples.append(await look(server, begun))
        await asyncio.sleep(SAMPLE)


async def warm_up(server: Server) -> dict[str, bytes]:
    """Every size once each way, two at a time: what a long-running service has allocated anyway. The streams by their ids."""
    stored = {}
    async with client() as http:
        slots = asyncio.Semaphore(2)

        async def there_and_back(width: int, height: int, image_format: str) -> None:
            async with slots:
                stream = await http.post(f"{server.url}/compress?bpp=0.2", content=picture(width, height, image_format))
                if stream.status_code == 201:  # a machine too slow for the largest within the deadline
                    await http.post(f"{server.url}/decompress", content=stream.content)
                    stored[stream.headers["location"].rpartition("/")[2]] = stream.content

        await asyncio.gather(*(there_and_back(*entry[:3]) for entry in SIZES))
    return stored


async def soak(arguments: argparse.Namespace) -> Facts:
    """Run it."""
    for entry in SIZES:
        picture(*entry[:3])
    begun, samples = time.monotonic(), list[Sample]()
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

                load = asyncio.create_task(run(arrivals(arguments.rate, 60 * arguments.minutes, random.Random(1)), traffic.operation))
                probing = asyncio.create_task(run(takewhile(lambda _: not load.done(), arrivals(5, math.inf)), livez))
                answers, probes = await load, await probing
                watching.cancel()
            await asyncio.sleep(arguments.quiet)
            after = await look(server, begun)
    return Facts(
        minutes=arguments.minutes,
        rate=arguments.rate,
        cores=os.cpu_count(),
        load=Summary.of(answers),
        operations=_statuses(answers),
        livez=Summary.of(probes),
        before=before,
        after=after,
        samples=samples,
        faults=faults(before, after, answers, traffic),
    )


def _statuses(answers: list[Answer]) -> dict[str, dict[str, int]]:
    names = sorted({answer.operation for answer in answers})
    return {name: Summary.of([answer for answer in answers if answer.operation == name]).statuses for name in names}


def faults(before: Sample, after: Sample, answers: list[Answer], traffic: Traffic) -> list[str]:
    """What is not as it should be, in words."""
    found = [f"{what}, {count} times" for what, count in traffic.unexpected.items()]
    found += [f"{answer.operation or 'a request'}: no answer: {answer.error}" for answer in answers if answer.status == 0]
    found += [f"{name} is {number:g} in a quiet moment" for name, number in after.gauges.items() if number]
    old, new = before.footprint, after.footprint
    for name in ("processes", "descriptors", "threads"):
        if (more := getattr(new, name) - getattr(old, name)) > SLACK:
            found.append(f"{more} more {name}")
    if new.rss - old.rss > RSS_GROWTH:
        found.append(f"{(new.rss - old.rss) >> 20} MiB more memory")
    return found


def report(facts: Facts, console: Console) -> None:
    """Tables of operations and of the footprint over time."""
    table = Table("operation", "statuses", box=box.SIMPLE)
    for name, statuses in facts.operations.items():
        table.add_row(name, " ".join(f"{status}: {count}" for status, count in statuses.items()))
    console.print(table)
    table = Table("minute", "RSS MiB", "descriptors", "threads", "processes", "in flight", "queued", box=box.SIMPLE)
    for sample in [facts.before, *facts.samples[:: max(1, len(facts.samples) // 20)], facts.after]:
        footprint, gauges = sample.footprint, sample.gauges
        numbers = footprint.rss >> 20, footprint.descriptors, footprint.threads, footprint.processes, gauges[GAUGES[0]], gauges[GAUGES[1]]
        table.add_row(f"{sample.seconds / 60:.1f}", *(f"{number:g}" for number in numbers))
    console.print(table)


def main() -> None:
    """Run, print, write; exit code 1 when there are faults."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--rate", type=float, default=1.5, help="requests a second, random arrivals")
    parser.add_argument("--quiet", type=float, default=60.0, help="seconds without load before each of the two comparisons")
    parser.add_argument("--seed", type=int, default=0, help="of what is sent")
    parser.add_argument("--log", type=Path, default=Path("soak-server.log"), help="where the server's log goes")
    parser.add_argument("--output", type=Path, default=Path("soak.json"), help="where the JSON goes")
    arguments = parser.parse_args()
    facts = asyncio.run(soak(arguments))
    arguments.output.write_text(json.dumps(asdict(facts), indent=2) + "\n")
    report(facts, Console(width=140))
    print(json.dumps({"load": asdict(facts.load), "livez": asdict(facts.livez)}, indent=2))
    for fault in facts.faults:
        print(f"FAULT: {fault}")
    sys.exit(bool(facts.faults))


if __name__ == "__main__":
    main()
