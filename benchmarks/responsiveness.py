"""Does the service stay responsive under load? /livez asked every 10 ms during concurrent compressions.

    python -m benchmarks.responsiveness photos/ --concurrency 32 --output responsiveness.json

Starts the server on a free port with a store in memory, sends every image of a folder (each again until there are as many requests as
`--concurrency`) at once, and meanwhile asks /livez. Prints a table of latencies, writes JSON, stops by itself.

The questions are asked on schedule, whether or not the last was answered (an open model): a stall of one second is seen by a hundred of
them, not by one.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import subprocess
import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass
from itertools import cycle, islice
from pathlib import Path

import httpx2
import numpy as np

INTERVAL = 0.010  # seconds between two questions
IDLE = 2.0  # seconds of asking before the load
STARTUP = 300.0  # seconds that loading the models may take
SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".avif"}


@dataclass(frozen=True, slots=True)
class Latencies:
    """Of one endpoint, in milliseconds."""

    endpoint: str
    answers: int
    p50: float
    p99: float
    largest: float
    statuses: dict[str, int]

    @classmethod
    def of(cls, endpoint: str, answers: list[tuple[int, float]]) -> Latencies:
        """From (status, seconds) of every answer."""
        p50, p99, largest = (float(np.percentile([1000 * seconds for _, seconds in answers], rank)) for rank in (50, 99, 100))
        return cls(endpoint, len(answers), p50, p99, largest, dict(Counter(str(status) for status, _ in answers)))


async def ask(host: str, port: int, path: str = "/livez") -> tuple[int, float]:
    """Status and seconds of one answer, on a connection of its own: what an orchestrator's probe sees, with next to no client around it."""
    begun = time.perf_counter()
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    return int(answer.split(maxsplit=2)[1]), time.perf_counter() - begun


async def ask_until(done: asyncio.Event, host: str, port: int) -> list[tuple[int, float]]:
    """Ask /livez on schedule until `done`."""
    questions: list[asyncio.Task[tuple[int, float]]] = []
    due = time.perf_counter()
    while not done.is_set():
        questions.append(asyncio.create_task(ask(host, port)))
        due += INTERVAL
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
    return await asyncio.gather(*questions)


async def measure(host: str, port: int, images: list[Path], concurrency: int, query: str) -> tuple[list[Latencies], float]:
    """Latencies of /livez idle and under load and of /compress, and the seconds that all compressions took."""
    await wait_until_ready(host, port)
    enough, done = asyncio.Event(), asyncio.Event()
    asyncio.get_running_loop().call_later(IDLE, enough.set)
    idle = await ask_until(enough, host, port)

    bodies = [path.read_bytes() for path in islice(cycle(images), max(concurrency, len(images)))]
    slots = asyncio.Semaphore(concurrency)
    async with httpx2.AsyncClient(timeout=None, limits=httpx2.Limits(max_connections=None), trust_env=False) as client:

        async def compress(body: bytes) -> tuple[int, float]:
            async with slots:
                begun = time.perf_counter()
                answer = await client.post(f"http://{host}:{port}/compress?{query}", content=body)
                return answer.status_code, time.perf_counter() - begun

        asking = asyncio.create_task(ask_until(done, host, port))
        begun = time.perf_counter()
        compressed = await asyncio.gather(*(compress(body) for body in bodies))
        seconds = time.perf_counter() - begun
        done.set()
        loaded = await asking
    return [Latencies.of("/livez idle", idle), Latencies.of("/livez under load", loaded), Latencies.of("/compress", compressed)], seconds


async def wait_until_ready(host: str, port: int) -> None:
    """Until the models are loaded."""
    deadline = time.perf_counter() + STARTUP
    while time.perf_counter() < deadline:
        try:
            if (await ask(host, port, "/readyz"))[0] == 200:
                return
        except OSError:
            await asyncio.sleep(0.2)
    raise SystemExit("the server did not become ready")


def main() -> None:
    """Run the measurement, print a table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", type=Path, help="folder of images to compress")
    parser.add_argument("--concurrency", type=int, default=32, help="compressions at a time")
    parser.add_argument("--query", default="bpp=0.15", help="of /compress")
    parser.add_argument("--output", type=Path, default=Path("responsiveness.json"), help="where the JSON goes")
    arguments = parser.parse_args()
    images = sorted(path for path in arguments.images.iterdir() if path.suffix.lower() in SUFFIXES)
    if not images:
        raise SystemExit(f"no images in {arguments.images}")

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    # Everything is let in: what overload answers is another measurement.
    environment = os.environ | {
        "ZIGGURAT_STORE": "memory://",
        "ZIGGURAT_MAX_QUEUED_PIXELS": "1000000000000",
        "ZIGGURAT_REQUEST_TIMEOUT_SECONDS": "3600",
    }
    command = [sys.executable, "-m", "uvicorn", "--factory", "service.app:create_app", "--port", str(port), "--log-level", "warning"]
    server = subprocess.Popen(command, env=environment)
    try:
        rows, seconds = asyncio.run(measure("127.0.0.1", port, images, arguments.concurrency, arguments.query))
    finally:
        server.terminate()
        server.wait(60)

    print(f"{'':20}{'answers':>9}{'p50 ms':>11}{'p99 ms':>11}{'max ms':>11}  statuses")
    for row in rows:
        print(f"{row.endpoint:20}{row.answers:9}{row.p50:11.1f}{row.p99:11.1f}{row.largest:11.1f}  {row.statuses}")
    print(f"{rows[-1].answers} compressions in {seconds:.1f} s")
    facts = {"concurrency": arguments.concurrency, "query": arguments.query, "cores": os.cpu_count(), "seconds": seconds}
    arguments.output.write_text(json.dumps(facts | {"latencies_ms": [asdict(row) for row in rows]}, indent=2) + "\n")


if __name__ == "__main__":
    main()
