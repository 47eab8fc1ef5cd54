"""What does the service make of the codec? Images a second: the codec called directly, over HTTP one by one, and over HTTP by many clients.

    python -m benchmarks.throughput kodak/ --clients 16 --output throughput.json

Starts the server on a free port with a store in memory; ZIGGURAT_... settings of the environment hold for it, and ZIGGURAT_THREADS for the
direct calls too. The three ways take turns on the same files, so that whatever else the machine does meets them alike, and what is reported
are ratios within a turn (their median). Direct calls do what the service does, on one thread and in batches of `--clients`: read the image
file, compress; decompress, write the PNG.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path

import httpx2
import torch
from PIL import Image

from models import Target
from models.learned.codec import LearnedCodec
from service import images
from service.settings import Settings

BPP = 0.3
THUMBNAIL = 128  # pixels on a side
SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".avif"}
WAYS = ("direct", "one_by_one", "clients")


@dataclass(slots=True)
class Workload:
    """Bodies to send, the call that takes them, and the seconds that each way needed in each turn."""

    name: str
    path: str
    bodies: Sequence[bytes]
    direct: Callable[[Sequence[bytes]], object]
    seconds: dict[str, list[float]] = field(default_factory=lambda: {way: [] for way in WAYS})


@dataclass(frozen=True, slots=True)
class Row:
    """Images a second of each way (medians), and the medians of the ratios within a turn."""

    workload: str
    images: int
    turns: int
    direct: float
    one_by_one: float
    clients: float
    clients_over_one_by_one: float
    http_overhead: float

    @classmethod
    def of(cls, workload: Workload) -> Row:
        """From a workload that has been run."""
        count, seconds = len(workload.bodies), workload.seconds
        rates = {way: count / statistics.median(seconds[way]) for way in WAYS}
        return cls(
            workload.name,
            count,
            len(seconds["direct"]),
            **rates,
            clients_over_one_by_one=statistics.median(a / b for a, b in zip(seconds["one_by_one"], seconds["clients"], strict=True)),
            http_overhead=statistics.median(a / b for a, b in zip(seconds["clients"], seconds["direct"], strict=True)) - 1,
        )


class Direct:
    """The codec without a service around it."""

    def __init__(self, settings: Settings, batch: int) -> None:
        if settings.threads is not None:
            torch.set_num_threads(settings.threads)
        self._codec = LearnedCodec.load(settings.profile, device=settings.device)
        self._batch = batch
        self._max_pixels = settings.max_pixels

    def compress(self, files: Sequence[bytes]) -> list[bytes]:
        """Image files to streams."""
        streams: list[bytes] = []
        for batch in batched(files, self._batch):
            pictures = [images.decode(images.open_image(file, max_pixels=self._max_pixels)) for file in batch]
            streams += [stream.data for stream in self._codec.encode(pictures, [Target(bpp=BPP)] * len(pictures))]
        return streams

    def decompress(self, streams: Sequence[bytes]) -> list[bytes]:
        """Streams to PNG files."""
        pictures = (picture for batch in batched(streams, self._batch) for picture in self._codec.decode(batch))
        return [images.encode(picture, images.ImageFormat.PNG) for picture in pictures]


def batched(bodies: Sequence[bytes], count: int) -> Iterator[list[bytes]]:
    """`itertools.batched`, which Python 3.11 lacks."""
    remaining = iter(bodies)
    while batch := list(islice(remaining, count)):
        yield batch


async def post(client: httpx2.AsyncClient, workload: Workload, clients: int) -> float:
    """Seconds that `clients` at a time need for all bodies."""
    waiting = iter(workload.bodies)

    async def work() -> None:
        for body in waiting:
            answer = await client.post(workload.path, content=body)
            answer.raise_for_status()

    begun = time.perf_counter()
    await asyncio.gather(*(work() for _ in range(clients)))
    return time.perf_counter() - begun


async def measure(address: str, workloads: Sequence[Workload], *, clients: int, turns: int, seconds: float) -> None:
    """Fill in the workloads' seconds: `turns` times, or fewer when `seconds` have passed."""
    begun = time.perf_counter()
    async with httpx2.AsyncClient(base_url=address, timeout=None, trust_env=False) as client:
        for workload in workloads:  # unmeasured: both sides have seen the sizes
            workload.direct(workload.bodies[:2])
            for body in workload.bodies[:2]:
                (await client.post(workload.path, content=body)).raise_for_status()
        for turn in range(turns):
            if turn and (time.perf_counter() - begun) * (turn + 1) / turn > seconds:
                return
            for workload in workloads:
                started = time.perf_counter()
                workload.direct(workload.bodies)
                workload.seconds["direct"].append(time.perf_counter() - started)
                workload.seconds["one_by_one"].append(await post(client, workload, 1))
                workload.seconds["clients"].append(await post(client, workload, clients))


def thumbnails(files: Sequence[bytes], count: int) -> list[bytes]:
    """`count` small PNG files, cut out of the images in turn."""
    crops: list[bytes] = []
    for number in range(count):
        with Image.open(io.BytesIO(files[number % len(files)])) as image:
            left = THUMBNAIL * (number // len(files)) % max(1, image.width - THUMBNAIL)
            crop = image.convert("RGB").crop((left, 0, left + THUMBNAIL, THUMBNAIL))
        crop.save(file := io.BytesIO(), "PNG")
        crops.append(file.getvalue())
    return crops


def start(settings: Settings) -> tuple[subprocess.Popen[bytes], str]:
    """A server that is ready, and its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    command = [sys.executable, "-c", "from service.cli import main; main()", "serve", "--port", port, "--store", "memory://"]
    command += ["--models", settings.profile, "--log-level", "warning", "--max-queued-pixels", "1000000000000"]
    server = subprocess.Popen(command)
    address = f"http://127.0.0.1:{port}"
    while server.poll() is None:
        try:
            if httpx2.get(f"{address}/readyz", trust_env=False).is_success:
                return server, address
        except httpx2.TransportError:
            pass
        time.sleep(0.2)
    raise SystemExit("the server did not start")


def main() -> None:
    """Run the measurement, print a table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", type=Path, help="folder of images")
    parser.add_argument("--clients", type=int, default=16, help="requests at a time; and images in a batch of direct calls")
    parser.add_argument("--count", type=int, default=16, help="images of the folder to use")
    parser.add_argument("--turns", type=int, default=3, help="how often each way is measured")
    parser.add_argument("--seconds", type=float, default=240, help="begin no turn that would end later")
    parser.add_argument("--output", type=Path, default=Path("throughput.json"), help="where the JSON goes")
    arguments = parser.parse_args()
    paths = sorted(path for path in arguments.images.iterdir() if path.suffix.lower() in SUFFIXES)[: arguments.count]
    if not paths:
        raise SystemExit(f"no images in {arguments.images}")

    settings = Settings()
    direct = Direct(settings, arguments.clients)
    files = [path.read_bytes() for path in paths]
    small = thumbnails(files, 4 * arguments.clients)
    query = f"/compress?bpp={BPP}"
    workloads = [
        Workload("compress images", query, files, direct.compress),
        Workload("decompress images", "/decompress", direct.compress(files), direct.decompress),
        Workload(f"compress {THUMBNAIL}x{THUMBNAIL}", query, small, direct.compress),
        Workload(f"decompress {THUMBNAIL}x{THUMBNAIL}", "/decompress", direct.compress(small), direct.decompress),
    ]
    server, address = start(settings)
    try:
        asyncio.run(
            measure(address, workloads, clients=arguments.clients, turns=arguments.turns, seconds=arguments.seconds),
        )
    finally:
        server.terminate()
        server.wait(60)

    rows = [Row.of(workload) for workload in workloads]
    many = f"{arguments.clients} clients"
    print(f"{'images/s':20}{'direct':>9}{'one by one':>12}{many:>12}{many + ' / one by one':>25}{'HTTP over direct':>18}")
    for row in rows:
        ratio = f"{row.clients_over_one_by_one:.2f}"
        print(f"{row.workload:20}{row.direct:9.2f}{row.one_by_one:12.2f}{row.clients:12.2f}{ratio:>25}{row.http_overhead:>+18.1%}")
    facts = {"clients": arguments.clients, "cores": os.cpu_count(), "threads": settings.threads, "torch_threads": torch.get_num_threads()}
    facts |= {"device": settings.device, "bpp": BPP}
    arguments.output.write_text(json.dumps(facts | {"rows": [asdict(row) for row in rows]}, indent=2) + "\n")


if __name__ == "__main__":
    main()
