"""What one budget for a whole folder gains over the same bits per pixel, or one quality, for every image.

    python -m benchmarks.allocation FOLDER [--bpp 0.15] [--profile ms-ssim psnr] [--device cpu] [--output allocation.json]

Each model is judged by its own score: the mean MS-SSIM of the images, or one PSNR over all their pixels. Every row is of real streams,
decoded; how many bits per pixel a constant rate needs for the score of the shared budget is read off the measured curves. Prints tables and
writes JSON.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from rich import box
from rich.console import Console
from rich.progress import track
from rich.table import Table

from models import Codec, Picture, Stream, Target
from models.allocation import TOLERANCE, Curve, Measured, Metric, Scores, allocate
from models.collection import QUALITIES, compare, encode, sweep
from models.evaluation.curves import decibels
from models.evaluation.run import image_paths, read_picture
from models.pchip import Pchip
from models.registry import available

METRICS: tuple[Metric, ...] = ("ms-ssim", "psnr")


@dataclass(frozen=True, slots=True)
class Row:
    """A way to spend the budget: bytes in all, PSNR over all pixels in dB, mean MS-SSIM as it is and in dB, each image's bits per pixel."""

    way: str
    bytes: int
    psnr: float
    ms_ssim: float
    ms_ssim_db: float
    bpp: list[float]

    def score(self, metric: Metric) -> float:
        """In dB."""
        return self.psnr if metric == "psnr" else self.ms_ssim_db


@dataclass(frozen=True, slots=True)
class Found:
    """One model: its rows, and the bits per pixel at which a constant rate reaches the score of the shared budget."""

    profile: str
    model_id: str
    metric: Metric
    budget: int
    rows: list[Row]
    constant_bpp: float


class Folder:
    """The images of a folder, read again whenever they are needed."""

    def __init__(self, folder: Path) -> None:
        self.name = folder.resolve().name
        self.paths = image_paths(folder)
        self.pixels = [picture.pixels for picture in self]

    def __iter__(self) -> Iterator[Picture]:
        return map(read_picture, self.paths)


def measure(codec: Codec, metric: Metric, folder: Folder, bpp: float) -> Found:
    """Three ways to spend `bpp` bits per pixel of the whole folder."""
    budget = int(bpp * sum(folder.pixels) / 8)
    swept = [sweep(codec, picture) for picture in track(folder, f"{codec.name}: measuring", len(folder.paths))]
    curves = [Curve.of(measured, metric, pixels) for measured, pixels in zip(swept, folder.pixels, strict=True)]
    allocation = allocate(curves, budget)
    quality = _common_quality(swept, budget)
    ways = {
        "constant bpp": (codec.encode([picture], [Target(bpp=bpp, tolerance=TOLERANCE)])[0] for picture in folder),
        "constant quality": (codec.encode([picture], [Target(quality=quality)])[0] for picture in folder),
        "shared budget": encode(codec, folder, allocation, budget),
    }
    rows = [_row(way, codec, folder, track(streams, f"{codec.name}: {way}", len(folder.paths))) for way, streams in ways.items()]
    return Found(codec.name, codec.model_id, metric, budget, rows, _constant_bpp(curves, folder.pixels, metric, rows[-1]))


def _row(way: str, codec: Codec, folder: Folder, streams: Iterable[Stream]) -> Row:
    sizes, measured = [], list[Measured]()
    for picture, stream in zip(folder, streams, strict=True):
        sizes.append(len(stream.data))
        measured += compare(codec, picture, codec.decode([stream.data]), sizes[-1:])
    scores = Scores.of(measured, folder.pixels)
    rates = [round(8 * size / pixels, 4) for size, pixels in zip(sizes, folder.pixels, strict=True)]
    return Row(way, sum(sizes), round(scores.psnr, 4), round(scores.ms_ssim, 6), round(decibels(scores.ms_ssim), 4), rates)


def _common_quality(swept: Sequence[Sequence[Measured]], budget: int) -> float:
    """The quality at which all streams together should have so many bytes."""
    totals = np.log([sum(point.size for point in points) for points in zip(*swept, strict=True)])
    grid = np.linspace(0, 100, 10_001)
    return float(grid[np.searchsorted(Pchip(np.array(QUALITIES), totals)(grid), np.log(budget)).clip(max=10_000)])


def _constant_bpp(curves: Sequence[Curve], pixels: Sequence[int], metric: Metric, shared: Row) -> float:
    """Where the curves at one rate for all come to the score of the shared budget; it rises with the rate, so by bisection."""
    low, high = 0.01, 4.0
    for _ in range(40):
        bpp = (low * high) ** 0.5
        distortion = sum(curve(round(bpp * count / 8)) for curve, count in zip(curves, pixels, strict=True))
        score = -10 * np.log10(distortion / (sum(pixels) if metric == "psnr" else len(pixels)))
        low, high = (bpp, high) if score < shared.score(metric) else (low, bpp)
    return round(high, 5)


def table(found: Found, name: str) -> Table:
    """For the terminal."""
    shown = Table(title=f"{found.profile} {found.model_id} on {name}, {found.budget} bytes", box=box.SIMPLE)
    for heading in ("", "bytes", "of budget", "PSNR of all pixels", "mean MS-SSIM", "dB", "bpp, lowest to highest"):
        shown.add_column(heading, justify="right")
    for row in found.rows:
        share, rates = f"{row.bytes / found.budget:.2%}", f"{min(row.bpp):.3f} to {max(row.bpp):.3f}"
        shown.add_row(row.way, f"{row.bytes}", share, f"{row.psnr:.3f}", f"{row.ms_ssim:.5f}", f"{row.ms_ssim_db:.3f}", rates)
    shown.caption = f"a constant rate needs {found.constant_bpp:.4f} bits per pixel for the {found.metric} of the shared budget"
    return shown


def main() -> None:
    """See the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--bpp", type=float, default=0.15)
    parser.add_argument("--profile", nargs="+", default=METRICS, choices=available())
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--output", type=Path, default=Path("allocation.json"))
    options = parser.parse_args()
    folder, results = Folder(options.folder), []
    for profile in options.profile:
        metric: Metric = "psnr" if profile == "psnr" else "ms-ssim"
        found = measure(Codec.load(profile, device=options.device), metric, folder, options.bpp)
        Console().print(table(found, folder.name))
        results.append(asdict(found))
    facts = {"images": [path.name for path in folder.paths], "bpp": options.bpp, "device": options.device, "models": results}
    options.output.write_text(json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    main()
