"""What a large image costs: seconds and memory of compressing and decompressing one, each in a fresh process.

    python -m benchmarks.large_image FOLDER [--megapixels 100] [--bpp 0.15] [--profile ms-ssim] [--output large_image.json]

The image is square, pieced together from the photographs in FOLDER, and arrives as a JPEG; the answer is a PNG. Memory is the process's
peak beyond what it held when the model was loaded and warm. Prints a table and writes JSON.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import resource
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

import numpy as np
import psutil
from PIL import Image
from rich import box
from rich.console import Console
from rich.table import Table

from models import Picture, Target
from models.bitstream import Bitstream
from models.evaluation.run import image_paths
from models.learned.codec import LearnedCodec
from service.images import ImageFormat, decode, encode, open_image

PIECE = 2048  # pixels on a side of what each photograph contributes at most
NO_LIMIT = 1 << 28
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Stage:
    """One step: wall seconds, seconds of CPU (the same with one thread and nobody else about), and the peak so far in bytes."""

    name: str
    seconds: float
    cpu_seconds: float
    peak_bytes: int


class Stages:
    """Takes the time and the memory of steps in a row."""

    def __init__(self) -> None:
        self.measured: list[Stage] = []
        self._before = psutil.Process().memory_info().rss

    def run(self, name: str, function: Callable[[], _T]) -> _T:
        """The function's result."""
        start, cpu_start = time.perf_counter(), time.process_time()
        result = function()
        self.measured.append(Stage(name, time.perf_counter() - start, time.process_time() - cpu_start, _peak() - self._before))
        return result


def compress(profile: str, source: Path, bpp: float, destination: Path) -> list[Stage]:
    """An image file to a stream."""
    codec, stages = _warm(profile), Stages()
    picture = stages.run("read JPEG", lambda: decode(open_image(source.read_bytes(), max_pixels=NO_LIMIT)))
    quantised = stages.run("quantise", lambda: codec.quantise([picture], [Target(bpp=bpp)])[0])
    stream = stages.run("write stream", lambda: codec.symbol_codec.write(quantised))
    if not stream.target_met:
        raise RuntimeError(f"{stream.bpp:.4f} bpp instead of {bpp}")
    destination.write_bytes(stream.data)
    return stages.measured


def decompress(profile: str, source: Path, destination: Path) -> list[Stage]:
    """A stream to a PNG."""
    codec, stages = _warm(profile), Stages()
    symbols = [stages.run("read stream", lambda: codec.symbol_codec.read(Bitstream.parse(source.read_bytes())))]
    picture = stages.run("reconstruct", lambda: codec.reconstruct([symbols.pop()])[0])
    destination.write_bytes(stages.run("write PNG", lambda: encode(picture, ImageFormat.PNG)))
    return stages.measured


def collage(folder: Path, side: int, destination: Path) -> None:
    """Photographs side by side, `side` pixels square, as a JPEG."""
    photographs = [Image.open(path).convert("RGB") for path in image_paths(folder)]
    canvas = Image.new("RGB", (side, side))
    number = top = 0
    while top < side:
        left, height = 0, 0
        while left < side:
            piece = photographs[number % len(photographs)].crop((0, 0, PIECE, PIECE) if number % 2 else (0, 0, PIECE // 2, PIECE))
            piece = piece.crop((0, 0, piece.width, min(piece.height, 1024)))
            canvas.paste(piece, (left, top))
            left, height, number = left + piece.width, max(height, piece.height), number + 1
        top += height
    canvas.save(destination, quality=92)


def main() -> None:
    """Run both ways."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--megapixels", type=float, default=100)
    parser.add_argument("--bpp", type=float, default=0.15)
    parser.add_argument("--profile", default="ms-ssim")
    parser.add_argument("--output", type=Path, default=Path("large_image.json"))
    options = parser.parse_args()
    side = math.isqrt(round(options.megapixels * 1e6))
    with TemporaryDirectory() as folder:
        image, stream, png = (Path(folder) / name for name in ("image.jpg", "image.zgt", "image.png"))
        # Elsewhere too: a process begins with the peak of the one that started it, as far as the kernel's count goes.
        _in_a_fresh_process(collage, options.folder, side, image)
        stages = {
            "compress": _in_a_fresh_process(compress, options.profile, image, options.bpp, stream),
            "decompress": _in_a_fresh_process(decompress, options.profile, stream, png),
        }
    shown = Table(title=f"{options.profile}, {side}x{side} pixels at {options.bpp:g} bpp", box=box.SIMPLE)
    for name in ("", "stage", "seconds", "of CPU", "peak beyond the model, GB"):
        shown.add_column(name, justify="left" if name in {"", "stage"} else "right")
    for direction, measured in stages.items():
        for one in measured:
            shown.add_row(direction, one.name, f"{one.seconds:.1f}", f"{one.cpu_seconds:.1f}", f"{one.peak_bytes / 1e9:.2f}")
    Console().print(shown)
    found = {"side": side, "bpp": options.bpp, **{direction: [asdict(one) for one in measured] for direction, measured in stages.items()}}
    options.output.write_text(json.dumps(found, indent=1) + "\n")


def _in_a_fresh_process(function: Callable[..., _T], *arguments: object) -> _T:
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def _warm(profile: str) -> LearnedCodec:
    codec = LearnedCodec.load(profile)
    picture = Picture.from_array(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    codec.decode([codec.encode([picture], [Target(bpp=1)])[0].data])
    return codec


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


if __name__ == "__main__":
    main()
