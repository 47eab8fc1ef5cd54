"""Scaling: time and memory against pixels, and the service's throughput against clients and cores.

    python -m benchmarks.scaling --pictures kodak/ [--profile psnr] [--quick]
        [--skip pixels clients] [--output benchmarks/results/scaling.json]

Pixels: square pictures from 64x64 to 100 megapixels, the first photograph tiled with its mirror
images. Each is encoded to 0.15 bits per pixel in a process of its own, and decoded with
post-processing in another. Memory is the process's peak beyond what it held when the model was
loaded and warm; it has the pixels, which come from a file, in it. Small pictures are taken several
times, and the shortest time counts.

Clients: photographs compressed to 0.3 bits per pixel and decompressed by 1 to 64 clients at a time,
on all cores (two at most) and on one. The service is bound to these cores; no variable is set.

--quick takes a megapixel at most, four clients at most, and all cores. Prints tables, and writes
JSON and, beside it, the tables in Markdown and plots.
"""

from __future__ import annotations

import asyncio
import io
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import cycle, islice
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx2
import numpy as np
from PIL import Image
from rich import box
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.child import cores, pinned
from benchmarks.large_image import Stages, in_a_fresh_process, warm
from benchmarks.markdown import write_markdown
from benchmarks.program import files_of, parser, write
from benchmarks.server import COMMAND, Server
from benchmarks.throughput import BPP as SERVED_BPP
from benchmarks.throughput import NO_LIMIT, Workload, post
from benchmarks.tiled import tiled
from models import Picture, Target
from models.evaluation.plots import OUR_COLOURS, RESOLUTION, new_axes

SIDES = (64, 128, 256, 512, 1024, 2048, 4096, 10_000)  # pixels
QUICK_SIDES = (64, 256, 1024)
BPP = 0.15
REPEATED_SECONDS = 1.0  # a picture is taken again while this has not passed
MOST_REPEATS = 20
CLIENTS = (1, 2, 4, 8, 16, 32, 64)
CLIENTS_ON_ONE_CORE = (1, 4, 16)
QUICK_CLIENTS = (1, 4)
PHOTOGRAPHS = 8
LEAST_REQUESTS = 16  # at every number of clients
PARTS = ("pixels", "clients")


@dataclass(frozen=True, slots=True)
class Size:
    """One size there and back.

    Attributes:
        side: of the square picture, in pixels.
        encode_seconds, decode_seconds: of wall time.
        encode_peak, decode_peak: bytes beyond the loaded model.
        stream_bytes: size of the stream.
    """

    side: int
    encode_seconds: float
    decode_seconds: float
    encode_peak: int
    decode_peak: int
    stream_bytes: int

    @property
    def megapixels(self) -> float:
        """Area of the picture."""
        return self.side**2 / 1e6


@dataclass(frozen=True, slots=True)
class Load:
    """The throughput of the service for so many clients at a time.

    Attributes:
        cores: that it may use.
        clients: requests at a time.
        compressed, decompressed: megapixels a second.
    """

    cores: int
    clients: int
    compressed: float
    decompressed: float


# Pixels


def encode(profile: str, source: Path, destination: Path) -> tuple[float, int]:
    """Encode an array of pixels to a stream; returns the seconds and the peak in bytes."""
    codec = warm(profile)

    def run() -> None:
        picture = Picture.from_array(np.load(source))
        destination.write_bytes(codec.encode([picture], [Target(bpp=BPP)])[0].data)

    return _repeated(run)


def decode(profile: str, source: Path) -> tuple[float, int]:
    """Decode a stream with post-processing; returns the seconds and the peak in bytes."""
    codec = warm(profile)
    stream = source.read_bytes()
    return _repeated(lambda: codec.decode([stream], postprocess="on"))


def _repeated(run: Callable[[], object]) -> tuple[float, int]:
    """Measure the shortest time of a few, and the peak of memory."""
    stages = Stages()
    begun = time.perf_counter()
    while len(stages.measured) < MOST_REPEATS and (
        not stages.measured or time.perf_counter() - begun < REPEATED_SECONDS
    ):
        stages.run("", run)
    return min(stage.seconds for stage in stages.measured), stages.measured[-1].peak_bytes


def measure_size(profile: str, photograph: Path, side: int) -> Size:
    """Take one size there and back."""
    with TemporaryDirectory() as folder:
        pixels = Path(folder) / "pixels.npy"
        stream = Path(folder) / "stream"
        # This process stays small: the kernel counts a process's peak from its parent's.
        in_a_fresh_process(write_pixels, photograph, side, pixels)
        encode_seconds, encode_peak = in_a_fresh_process(encode, profile, pixels, stream)
        decode_seconds, decode_peak = in_a_fresh_process(decode, profile, stream)
        size = stream.stat().st_size
    return Size(side, encode_seconds, decode_seconds, encode_peak, decode_peak, size)


def write_pixels(photograph: Path, side: int, destination: Path) -> None:
    """Tile a picture file to an array of pixels."""
    with Image.open(photograph) as image:
        np.save(destination, tiled(np.array(image.convert("RGB")), side, side))


# Clients


async def measure_loads(files: Sequence[bytes], count: int, clients: Sequence[int], log: Path) -> list[Load]:
    """Measure the service on `count` cores by all numbers of clients."""
    server = Server(log, command=pinned(COMMAND, count), store="memory://", max_queued_pixels=NO_LIMIT)
    loads = []
    async with server, httpx2.AsyncClient(base_url=server.url, timeout=None, trust_env=False) as http:
        path = f"/compress?bpp={SERVED_BPP}"
        streams = [(await http.post(path, content=file)).raise_for_status().content for file in files]
        for number in clients:
            requests = max(LEAST_REQUESTS, number)
            rates = []
            for target, bodies in ((path, files), ("/decompress", streams)):
                sent = list(islice(cycle(bodies), requests))
                seconds = await post(http, Workload("", target, sent, lambda _: None), number)
                rates.append(requests / seconds)
            pixels = sum(_megapixels(file) for file in files) / len(files)
            loads.append(Load(count, number, rates[0] * pixels, rates[1] * pixels))
    return loads


def _megapixels(file: bytes) -> float:
    with Image.open(io.BytesIO(file)) as image:
        return image.width * image.height / 1e6


# Results


def plot_files(sizes: Sequence[Size], loads: Sequence[Load], output: Path) -> None:
    """Draw `NAME-time.png`, `NAME-memory.png` and `NAME-clients.png` beside the JSON."""
    if sizes:
        megapixels = [size.megapixels for size in sizes]
        figure, axes = new_axes("time against pixels")
        for label, colour, seconds in (
            ("encode", OUR_COLOURS[0], [size.encode_seconds for size in sizes]),
            ("decode", OUR_COLOURS[1], [size.decode_seconds for size in sizes]),
        ):
            axes.loglog(megapixels, seconds, "o-", color=colour, label=label)
        axes.set(xlabel="megapixels", ylabel="seconds")
        axes.legend()
        figure.savefig(output.with_name(f"{output.stem}-time.png"), dpi=RESOLUTION)
        figure, axes = new_axes("memory against pixels")
        for label, colour, peaks in (
            ("encode", OUR_COLOURS[0], [size.encode_peak for size in sizes]),
            ("decode", OUR_COLOURS[1], [size.decode_peak for size in sizes]),
        ):
            axes.loglog(megapixels, [peak / 1e6 for peak in peaks], "o-", color=colour, label=label)
        axes.set(xlabel="megapixels", ylabel="MB beyond the loaded model, at the peak")
        axes.legend()
        figure.savefig(output.with_name(f"{output.stem}-memory.png"), dpi=RESOLUTION)
    if loads:
        figure, axes = new_axes("throughput against clients")
        for number, count in enumerate(dict.fromkeys(load.cores for load in loads)):
            of_count = [load for load in loads if load.cores == count]
            clients = [load.clients for load in of_count]
            word = "core" if count == 1 else "cores"
            style = "o-" if number == 0 else "o--"
            compressed = [load.compressed for load in of_count]
            decompressed = [load.decompressed for load in of_count]
            axes.plot(clients, compressed, style, color=OUR_COLOURS[0], label=f"compress, {count} {word}")
            axes.plot(clients, decompressed, style, color=OUR_COLOURS[1], label=f"decompress, {count} {word}")
        axes.set_xscale("log", base=2)
        axes.set(xlabel="clients", ylabel="megapixels a second", ylim=(0, None))
        axes.legend()
        figure.savefig(output.with_name(f"{output.stem}-clients.png"), dpi=RESOLUTION)


def tables(profile: str, sizes: Sequence[Size], loads: Sequence[Load]) -> list[Table]:
    """Lay out what was measured for the terminal."""
    of_sizes = Table("pixels", title=f"{profile} at {BPP:g} bpp", box=box.SIMPLE)
    for heading in ("encode, s", "decode, s", "encode, s/MP", "decode, s/MP", "encode, MB", "decode, MB"):
        of_sizes.add_column(heading, justify="right")
    for size in sizes:
        of_sizes.add_row(
            f"{size.side}x{size.side}",
            f"{size.encode_seconds:.3f}",
            f"{size.decode_seconds:.3f}",
            f"{size.encode_seconds / size.megapixels:.2f}",
            f"{size.decode_seconds / size.megapixels:.2f}",
            f"{size.encode_peak / 1e6:.0f}",
            f"{size.decode_peak / 1e6:.0f}",
        )
    of_loads = Table("cores", "clients", title="service, megapixels a second", box=box.SIMPLE)
    for heading in ("compress", "decompress"):
        of_loads.add_column(heading, justify="right")
    for load in loads:
        of_loads.add_row(
            str(load.cores), str(load.clients), f"{load.compressed:.2f}", f"{load.decompressed:.2f}"
        )
    return [table for table, rows in ((of_sizes, sizes), (of_loads, loads)) if rows]


def main() -> None:
    """Measure, print, write and draw."""
    options = parser(__doc__, "benchmarks/results/scaling.json")
    options.add_argument("--pictures", type=Path, required=True, help="folder of pictures")
    options.add_argument("--profile", default="psnr", help="of the codec, not of the service")
    options.add_argument("--quick", action="store_true", help="less of everything")
    options.add_argument("--skip", nargs="*", choices=PARTS, default=(), help="what not to measure")
    arguments = options.parse_args()
    begun = time.perf_counter()
    files = files_of(arguments.pictures)
    sizes = []
    if "pixels" not in arguments.skip:
        sides = QUICK_SIDES if arguments.quick else SIDES
        sizes = [measure_size(arguments.profile, files[0], side) for side in track(sides, "pixels")]
    loads = []
    if "clients" not in arguments.skip:
        bodies = [file.read_bytes() for file in files[:PHOTOGRAPHS]]
        most = min(2, len(cores()))
        ladders: dict[int, Sequence[int]] = {most: QUICK_CLIENTS if arguments.quick else CLIENTS}
        if most > 1 and not arguments.quick:
            ladders[1] = CLIENTS_ON_ONE_CORE
        with TemporaryDirectory() as folder:
            for count, clients in track(ladders.items(), "clients"):
                loads += asyncio.run(measure_loads(bodies, count, clients, Path(folder) / "log"))
    shown = tables(arguments.profile, sizes, loads)
    for table in shown:
        Console(width=100).print(table)
    facts = {
        "profile": arguments.profile,
        "bpp": BPP,
        "minutes": (time.perf_counter() - begun) / 60,
        "sizes": [asdict(size) for size in sizes],
        "loads": [asdict(load) for load in loads],
    }
    write(arguments.output, facts)
    write_markdown(arguments.output.with_suffix(".md"), shown)
    plot_files(sizes, loads, arguments.output)


if __name__ == "__main__":
    main()
