"""Measure: processor time of what the model has to know and no other benchmark tells.

    python -m benchmarks.capacity.measure kodak/ [--output benchmarks/results/capacity-costs.json]

Processor time and not time, so that a busy machine changes little; the least of several turns.

- Codecs: one thread, four pictures, from pixels in memory to bytes of at most 0.15 bits per pixel
  and back; and one of 12 megapixels, which goes in tiles. AVIF is libavif's at speeds 4 and 6 in
  4:4:4, at the quality that comes nearest, which is known beforehand; ours searches.
- The service: its event loop's thread, and all its processes together, for each small picture;
  the loop for each megabyte of a body; and a scrape of /metrics.
- HAProxy, where it is installed: for each small request, and for each gigabyte of bodies.
- The store's client: for each stream that it puts into a bucket of a server beside it (moto).
"""

from __future__ import annotations

import asyncio
import io
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx2
import numpy as np
import psutil
import torch
from PIL import Image
from rich.console import Console

from benchmarks.program import add_folder, files_of, parser, write
from benchmarks.server import Server, client
from benchmarks.tiled import tiled
from models import Picture, Target
from models.learned.codec import LearnedCodec
from service.store import StreamStore

BPP = 0.15
PICTURES = 4
LARGE_SIDE = 3493  # pixels: 12.2 MP, in tiles
TURNS = 3
SMALL_REQUESTS = 150
SMALL_REQUESTS_OF_BALANCER = 1500
BODY_BYTES = 20_000_000
BODIES = 25
STREAM_BYTES = 20_000
STREAMS = 200
_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
_HAPROXY = """
global
    nbthread 1
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
frontend all
    bind 127.0.0.1:{front}
    default_backend replicas
backend replicas
    balance leastconn
    server one 127.0.0.1:{back}
"""

Costs = dict[str, float]


def main() -> None:
    """Run the program."""
    options = parser(__doc__, "benchmarks/results/capacity-costs.json")
    add_folder(options)
    arguments = options.parse_args()
    torch.set_num_threads(1)
    costs = codec_costs([Image.open(path).convert("RGB") for path in spread(files_of(arguments.folder))])
    with TemporaryDirectory() as folder:
        costs |= asyncio.run(service_costs(Path(folder) / "log"))
        costs |= asyncio.run(balancer_costs(Path(folder)))
        costs |= asyncio.run(store_costs())
    for name, cost in costs.items():
        Console().print(f"{name}: {cost:.4g}")
    write(arguments.output, {"costs": costs})


def spread(files: list[Path]) -> list[Path]:
    """Choose pictures from all over a folder."""
    return files[:: max(1, len(files) // PICTURES)][:PICTURES]


def processor_seconds(act: Callable[[], object], turns: int = TURNS) -> float:
    """Find the least processor time of several turns, of all threads of this process."""

    def once() -> float:
        begun = time.process_time()
        act()
        return time.process_time() - begun

    return min(once() for _ in range(turns))


def codec_costs(images: list[Image.Image]) -> Costs:
    """Measure processor seconds a megapixel, to bytes and back, by codec."""
    megapixels = sum(image.width * image.height for image in images) / 1e6
    costs: Costs = {}

    def measure(name: str, act: Callable[[], object]) -> None:
        costs[f"{name}, s/MP"] = processor_seconds(act) / megapixels

    for profile in ("psnr", "ms-ssim"):
        codec = LearnedCodec.load(profile)
        pictures = [Picture.from_image(image) for image in images]

        def encode(codec: LearnedCodec = codec, pictures: list[Picture] = pictures) -> list[bytes]:
            return [codec.encode([picture], [Target(bpp=BPP)])[0].data for picture in pictures]

        def decode(codec: LearnedCodec = codec, streams: Sequence[bytes] = tuple(encode())) -> list[object]:
            return [codec.decode([stream], postprocess="on") for stream in streams]

        measure(f"{profile} encode", encode)
        measure(f"{profile} decode", decode)
    tiles = Picture.from_image(Image.fromarray(tiled(np.asarray(images[0]), LARGE_SIDE, LARGE_SIDE)))
    codec = LearnedCodec.load("psnr")
    costs["psnr encode of 12 MP, s/MP"] = (
        processor_seconds(lambda: codec.encode([tiles], [Target(bpp=BPP)]), 1) * 1e6 / LARGE_SIDE**2
    )
    qualities = [nearest_quality(image) for image in images]

    def avifs(speed: int) -> list[bytes]:
        return [avif(*each, speed) for each in zip(images, qualities, strict=True)]

    measure("avif speed 4 encode", lambda: avifs(4))
    measure("avif speed 6 encode", lambda: avifs(6))
    files = avifs(6)
    measure("avif decode", lambda: [np.asarray(Image.open(io.BytesIO(file))) for file in files])
    measure("jpeg encode", lambda: [jpeg(image) for image in images])
    files = [jpeg(image) for image in images]
    measure("jpeg decode", lambda: [np.asarray(Image.open(io.BytesIO(file))) for file in files])
    return costs


def avif(image: Image.Image, quality: int, speed: int) -> bytes:
    """Encode in 4:4:4 on one thread."""
    file = io.BytesIO()
    image.save(file, "AVIF", quality=quality, speed=speed, subsampling="4:4:4", max_threads=1)
    return file.getvalue()


def jpeg(image: Image.Image) -> bytes:
    """Encode as cameras do."""
    file = io.BytesIO()
    image.save(file, "JPEG", quality=85)
    return file.getvalue()


def nearest_quality(image: Image.Image) -> int:
    """Find the quality whose AVIF file is the largest within the rate."""
    low, high = 1, 60
    while low < high:
        middle = (low + high + 1) // 2
        if len(avif(image, middle, 8)) * 8 <= BPP * image.width * image.height:
            low = middle
        else:
            high = middle - 1
    return low


def busy(process: psutil.Process, *, loop: bool = False) -> float:
    """Add up a process's processor seconds: of all its threads, or of the first one alone."""
    if loop:
        first = next(thread for thread in process.threads() if thread.id == process.pid)
        return first.user_time + first.system_time
    times = process.cpu_times()
    return times.user + times.system


async def service_costs(log: Path) -> Costs:
    """Measure what requests cost the service beside its networks."""
    small = io.BytesIO()
    Image.effect_noise((64, 64), 60).convert("RGB").save(small, "PNG")
    large = bytes(BODY_BYTES)  # no picture, and long: it is read and refused
    async with Server(log, store="memory://") as server, client() as http:
        root = psutil.Process(server.process.pid)

        async def cost(path: str, body: bytes | None, requests: int) -> tuple[float, float]:
            """Find the seconds of the loop, and of everything, for each request."""
            processes = [root, *server.workers()]
            before = busy(root, loop=True), sum(map(busy, processes))
            for _ in range(requests):
                if body is None:
                    (await http.get(server.url + path)).raise_for_status()
                else:
                    await http.post(server.url + path, content=body)
            after = busy(root, loop=True), sum(map(busy, processes))
            return (after[0] - before[0]) / requests, (after[1] - before[1]) / requests

        compress = f"/compress?bpp={BPP * 4}"
        await cost(compress, small.getvalue(), 10)
        loop, everything = await cost(compress, small.getvalue(), SMALL_REQUESTS)
        empty, _ = await cost(compress, b"no picture", SMALL_REQUESTS)
        full, _ = await cost(compress, large, BODIES)
        scrape, _ = await cost("/metrics", None, 50)
        metrics = len((await http.get(f"{server.url}/metrics")).content)
    return {
        "service's loop, ms a request": 1e3 * loop,
        "service, ms a request of 64 x 64": 1e3 * everything,
        "service's loop, ms a refusal": 1e3 * empty,
        "service's loop, ms/MB of body": 1e3 * (full - empty) / (BODY_BYTES / 1e6),
        "service's loop, ms a scrape": 1e3 * scrape,
        "metrics, kB": metrics / 1e3,
    }


def free_port() -> int:
    """Find a port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


async def balancer_costs(folder: Path) -> Costs:
    """Measure HAProxy on one thread before a server that answers two bytes; nothing without it."""
    haproxy = shutil.which("haproxy", path=f"{os.environ['PATH']}:/usr/sbin")
    if haproxy is None:
        return {}
    front, back = free_port(), free_port()
    (folder / "haproxy.cfg").write_text(_HAPROXY.format(front=front, back=back))
    async with await asyncio.start_server(answer, "127.0.0.1", back, limit=2**20):
        with running(haproxy, "-f", str(folder / "haproxy.cfg"), port=front) as process:

            async def cost(body: bytes, requests: int) -> float:
                before = busy(process)
                await ask(front, body, requests)
                return (busy(process) - before) / requests

            small = min([await cost(b"x" * 100, SMALL_REQUESTS_OF_BALANCER) for _ in range(TURNS)])
            large = min([await cost(bytes(BODY_BYTES), BODIES) for _ in range(TURNS)])
        await asyncio.sleep(0.1)  # until its connections have ended
    return {
        "haproxy, us a request": 1e6 * small,
        "haproxy, s/GB of bodies": (large - small) / (BODY_BYTES / 1e9),
    }


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Read requests and answer them, until the connection ends."""
    with suppress(asyncio.IncompleteReadError, ConnectionError):
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(int(head.lower().split(b"content-length:")[1].split(maxsplit=1)[0]))
            writer.write(_ANSWER)
    writer.close()


async def ask(port: int, body: bytes, requests: int) -> None:
    """Post a body so many times on one connection."""
    async with httpx2.AsyncClient(timeout=None, trust_env=False) as http:
        for _ in range(requests):
            (await http.post(f"http://127.0.0.1:{port}/", content=body)).raise_for_status()


@contextmanager
def running(*command: str, port: int) -> Iterator[psutil.Process]:
    """Run a server until the end of the `with`; it has begun when it listens."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(600):
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except OSError:
                time.sleep(0.1)
        yield psutil.Process(process.pid)
    finally:
        process.kill()
        process.wait()


async def store_costs() -> Costs:
    """Measure the client of the store against moto; the server's own time does not count."""
    port = free_port()
    bucket = f"http://127.0.0.1:{port}/streams"
    os.environ |= {
        "AWS_ACCESS_KEY_ID": "benchmark",
        "AWS_SECRET_ACCESS_KEY": "benchmark",
        "AWS_REGION": "us-east-1",
        "AWS_ALLOW_HTTP": "true",
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
    }
    with running(sys.executable, "-m", "moto.server", "-p", str(port), port=port):
        httpx2.put(bucket, trust_env=False).raise_for_status()
        store = StreamStore("s3://streams/kept")
        begun, elapsed = time.process_time(), time.monotonic()
        for number in range(STREAMS):
            await store.put(number.to_bytes(4) + os.urandom(STREAM_BYTES))
        spent = time.process_time() - begun
        elapsed = time.monotonic() - elapsed
    return {
        "store's client, ms a put": 1e3 * spent / STREAMS,
        "moto beside it, ms a put": 1e3 * elapsed / STREAMS,
    }


if __name__ == "__main__":
    main()
