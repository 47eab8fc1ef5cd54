"""Cost of a large picture: seconds and memory of compressing one and back, each in its own process.

    python -m benchmarks.large_image FOLDER [--megapixels 100] [--bpp 0.15] [--profile ms-ssim]
        [--output large_image.json]

The picture is square, pieced together from the photographs in FOLDER, and arrives as a JPEG; the
answer is a PNG. Memory is the process's peak beyond what it held when the model was loaded and
warm. Prints a table and writes JSON.
"""

from __future__ import annotations

import math
import multiprocessing
import resource
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from itertools import cycle
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

import numpy as np
import psutil
from PIL import Image
from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.program import add_folder, parser, write
from models import Picture, Target
from models.bitstream import Bitstream
from models.evaluation.run import image_paths
from models.learned.codec import LearnedCodec
from service.images import ImageFormat, decode, encode

PIECE_SIZES = ((1024, 1024), (2048, 1024))  # of pieces in turn, width and height in pixels
JPEG_QUALITY = 92  # of the picture that arrives
MAX_PIXELS = 1 << 28  # no limit in effect
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Stage:
    """One step.

    Attributes:
        name: for the table.
        seconds: of wall time.
        cpu_seconds: of processor time of all threads.
        peak_bytes: of memory so far, beyond what was held before the first step.
    """

    name: str
    seconds: float
    cpu_seconds: float
    peak_bytes: int


class Stages:
    """A stopwatch for the time and the memory of steps in a row."""

    def __init__(self) -> None:
        self.measured: list[Stage] = []
        self._before = psutil.Process().memory_info().rss

    def run(self, name: str, function: Callable[[], _T]) -> _T:
        """Measure a step; returns the function's result."""
        start = time.perf_counter()
        cpu_start = time.process_time()
        result = function()
        seconds = time.perf_counter() - start
        cpu_seconds = time.process_time() - cpu_start
        self.measured.append(Stage(name, seconds, cpu_seconds, _peak() - self._before))
        return result


def compress(profile: str, source: Path, bpp: float, destination: Path) -> list[Stage]:
    """Turn a picture file into a stream.

    Raises:
        RuntimeError: the stream misses the rate.
    """
    codec = warm(profile)
    stages = Stages()
    picture = stages.run("read JPEG", lambda: decode(source.read_bytes(), max_pixels=MAX_PIXELS).picture)
    quantised = stages.run("quantise", lambda: codec.quantise([picture], [Target(bpp=bpp)])[0])
    stream = stages.run("write stream", lambda: codec.symbol_codec.write(quantised))
    if not stream.target_met:
        raise RuntimeError(f"{stream.bpp:.4f} bpp instead of {bpp}")
    destination.write_bytes(stream.data)
    return stages.measured


def decompress(profile: str, source: Path, destination: Path) -> list[Stage]:
    """Turn a stream into a PNG file."""
    codec = warm(profile)
    stages = Stages()
    symbols = [
        stages.run("read stream", lambda: codec.symbol_codec.read(Bitstream.parse(source.read_bytes())))
    ]
    # The symbols are handed over, so that nobody holds them any longer.
    picture = stages.run("reconstruct", lambda: codec.reconstruct([symbols.pop()])[0])
    destination.write_bytes(stages.run("write PNG", lambda: encode(picture, ImageFormat.PNG)))
    return stages.measured


def collage(folder: Path, side: int, destination: Path) -> None:
    """Put photographs side by side, `side` pixels square, into a JPEG."""
    photographs = cycle([Image.open(path).convert("RGB") for path in image_paths(folder)])
    sizes = cycle(PIECE_SIZES)
    canvas = Image.new("RGB", (side, side))
    top = 0
    while top < side:
        left = 0
        height = 0
        while left < side:
            piece = next(photographs).crop((0, 0, *next(sizes)))
            canvas.paste(piece, (left, top))
            left += piece.width
            height = max(height, piece.height)
        top += height
    canvas.save(destination, quality=JPEG_QUALITY)


def table(stages: Mapping[str, Sequence[Stage]], title: str) -> Table:
    """Lay out the stages of both directions for the terminal."""
    shown = Table("", "stage", title=title, box=box.SIMPLE)
    for heading in ("seconds", "of CPU", "peak beyond the model, GB"):
        shown.add_column(heading, justify="right")
    for direction, measured in stages.items():
        for stage in measured:
            shown.add_row(
                direction,
                stage.name,
                f"{stage.seconds:.1f}",
                f"{stage.cpu_seconds:.1f}",
                f"{stage.peak_bytes / 1e9:.2f}",
            )
    return shown


def main() -> None:
    """Measure both directions, print and write."""
    options = parser(__doc__, "large_image.json")
    add_folder(options)
    options.add_argument("--megapixels", type=float, default=100)
    options.add_argument("--bpp", type=float, default=0.15)
    options.add_argument("--profile", default="ms-ssim")
    arguments = options.parse_args()
    side = math.isqrt(round(arguments.megapixels * 1e6))
    with TemporaryDirectory() as folder:
        image, stream, png = (Path(folder) / name for name in ("image.jpg", "image.zgt", "image.png"))
        # The collage too is made elsewhere: as far as the kernel's count goes, a process begins
        # with the peak of the one that started it.
        in_a_fresh_process(collage, arguments.folder, side, image)
        stages = {
            "compress": in_a_fresh_process(compress, arguments.profile, image, arguments.bpp, stream),
            "decompress": in_a_fresh_process(decompress, arguments.profile, stream, png),
        }
    title = f"{arguments.profile}, {side}x{side} pixels at {arguments.bpp:g} bpp"
    Console().print(table(stages, title))
    facts: dict[str, object] = {"side": side, "bpp": arguments.bpp}
    for direction, measured in stages.items():
        facts[direction] = [asdict(stage) for stage in measured]
    write(arguments.output, facts)


def in_a_fresh_process(function: Callable[..., _T], *arguments: object) -> _T:
    """Call a function of a module in a process that has done nothing before."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def warm(profile: str) -> LearnedCodec:
    """Load a model, and use it once."""
    codec = LearnedCodec.load(profile)
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    stream = codec.encode([Picture.from_array(noise)], [Target(bpp=1)])[0]
    codec.decode([stream.data])
    return codec


def _peak() -> int:
    """Read the process's peak memory in bytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


if __name__ == "__main__":
    main()
