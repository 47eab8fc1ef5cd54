"""What encoder effort buys at equal budgets, and what it costs.

    python -m benchmarks.effort FOLDER [--profile psnr] [--bpp 0.15] [--efforts 0 1 3 5 7] [--every 3]
    python -m benchmarks.effort FOLDER --bpp 0.07 0.15 0.3 0.6 --efforts 0 9 --against avif heic --known FOLDER-anchors.json
    python -m benchmarks.effort FOLDER --profile ms-ssim --quality 43.4 --efforts 5

Prints a table of means over the images, in real bytes, post-processed, and writes JSON after every image. With several rates it adds
BD-rates between the lowest and the highest: against the first effort, and against other codecs, whose points `ziggurat evaluate` keeps.
Those too are taken at the very rates, image by image, because the same rate for every image and the same quality for every image make
different means. The last is one quality for every image, as published curves are: the rate is what comes of it.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from models import Picture, Target
from models.evaluation.anchors import of_families
from models.evaluation.curves import Curve, Mean, Metric, decibels, mean_of
from models.evaluation.points import AnchorPoints, Point, measure
from models.evaluation.report import Comparison, rounded
from models.evaluation.run import image_paths, read_picture
from models.learned.codec import LearnedCodec
from models.rate_control.pchip import Pchip

JUDGED: tuple[Metric, ...] = ("psnr", "ms-ssim")


@dataclass(frozen=True, slots=True)
class Row:
    """Means over the images at one effort and rate (or quality) asked for; processor seconds of all threads that encoding took."""

    effort: int
    mean: Mean
    seconds: float


def encode(codec: LearnedCodec, picture: Picture, target: Target, effort: int) -> tuple[Point, float]:
    """One picture to the budget or quality: what comes out, and the seconds."""
    begun = time.process_time()
    stream = codec.encode([picture], [target], effort=effort)[0]
    seconds = time.process_time() - begun
    return measure(picture, codec.decode([stream.data])[0], setting=stream.quality, size=len(stream.data)), seconds


def rows_of(found: Mapping[tuple[int, float], Sequence[tuple[Point, float]]]) -> list[Row]:
    """By effort and rate."""
    return [
        Row(effort, mean_of([point for point, _ in rows], setting=setting), float(np.mean([seconds for _, seconds in rows])))
        for (effort, setting), rows in found.items()
    ]


def at_rates(name: str, sweeps: Sequence[Sequence[Point]], rates: Sequence[float]) -> Curve:
    """Another codec at exactly these rates: each image by PCHIP over ln(rate) between its settings; less rates that an image lacks."""
    means = []
    for bpp in sorted(rates):
        points = []
        for sweep in sweeps:
            rising = sorted({point.bpp: point for point in sweep}.items())
            ln_rate = np.log([rate for rate, _ in rising])
            if not ln_rate[0] <= np.log(bpp) <= ln_rate[-1]:
                break
            psnr, similarity = (
                float(Pchip(ln_rate, np.array(values))(np.log(bpp)))
                for values in ([point.psnr for _, point in rising], [decibels(point.ms_ssim) for _, point in rising])
            )
            points.append(Point(setting=bpp, size=0, bpp=bpp, psnr=psnr, ms_ssim=1 - 10 ** (-similarity / 10)))
        else:
            means.append(mean_of(points, setting=bpp))
    return Curve(name, tuple(means))


def comparisons(rows: Sequence[Row], others: Sequence[Curve], rates: tuple[float, float]) -> list[Comparison]:
    """BD-rates of every effort against all others, and of each but the first against the first."""
    means: dict[int, list[Mean]] = {}
    for row in rows:
        means.setdefault(row.effort, []).append(row.mean)
    first, *more = (Curve(f"effort {effort}", tuple(own)) for effort, own in means.items())
    pairs = [*((first, anchor) for anchor in others), *((curve, anchor) for curve in more for anchor in (first, *others))]
    return [Comparison.of(curve, anchor, metric, rates=rates) for curve, anchor in pairs for metric in JUDGED]


def tables(title: str, rows: Sequence[Row], compared: Sequence[Comparison]) -> list[Table]:
    """What the terminal shows."""
    means = Table("effort", "bpp", "PSNR", "MS-SSIM", "dB", "CPU seconds", title=title)
    for row in rows:
        bpp, psnr, similarity = row.mean.bpp, row.mean.psnr, row.mean.ms_ssim
        means.add_row(
            str(row.effort), f"{bpp:.4f}", f"{psnr:.3f}", f"{similarity:.5f}", f"{decibels(similarity):.3f}", f"{row.seconds:.2f}"
        )
    rates = Table("", "against", "metric", "bits (dB)")
    for one in compared:
        rates.add_row(one.codec, one.anchor, one.metric, one.cell())
    return [means, rates] if compared else [means]


def main() -> None:
    """See the module's docstring."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--profile", default="psnr")
    asked = parser.add_mutually_exclusive_group()
    asked.add_argument("--bpp", type=float, nargs="+", default=[0.15])
    asked.add_argument("--quality", type=float, nargs="+", help="one for every image, instead of a rate")
    parser.add_argument("--efforts", type=int, nargs="+", default=[0, 1, 3, 5])
    parser.add_argument("--every", type=int, default=1, help="use every n-th image")
    parser.add_argument("--against", nargs="*", default=[], help="other codecs, as in `ziggurat evaluate`")
    parser.add_argument("--known", type=Path, help="measured points of the other codecs")
    parser.add_argument("--output", type=Path, default=Path("effort.json"))
    arguments = parser.parse_args()

    codec = LearnedCodec.load(arguments.profile)
    anchors = of_families(tuple(arguments.against))
    known = AnchorPoints(arguments.known, perceptual=False)
    paths = image_paths(arguments.folder)[:: arguments.every]
    if arguments.quality:
        targets = {quality: Target(quality=quality) for quality in sorted(arguments.quality)}
    else:
        targets = {bpp: Target(bpp=bpp) for bpp in sorted(arguments.bpp)}
    found: dict[tuple[int, float], list[tuple[Point, float]]] = {(e, setting): [] for e in arguments.efforts for setting in targets}
    sweeps: dict[str, list[tuple[Point, ...]]] = {anchor.name: [] for anchor in anchors}
    compared: list[Comparison] = []
    for done, path in enumerate(paths, 1):
        picture = read_picture(path)
        for (effort, setting), points in found.items():
            points.append(encode(codec, picture, targets[setting], effort))
        for anchor in anchors:
            sweeps[anchor.name].append(known.sweep(anchor, picture))
        rows = rows_of(found)
        if not arguments.quality and len(arguments.bpp) > 1:
            others = [at_rates(name, sweep, arguments.bpp) for name, sweep in sweeps.items()]
            compared = comparisons(rows, others, (min(arguments.bpp), max(arguments.bpp)))
        post_processor = codec.post_processor.model_id if codec.post_processor else None
        facts = {"model": codec.name, "model_id": codec.model_id, "post_processor": post_processor}
        images = {"images": [path.name for path in paths[:done]]}
        results = {"rows": [asdict(row) for row in rows], "comparisons": [asdict(one) for one in compared]}
        arguments.output.write_text(json.dumps(rounded(facts | images | results), indent=2) + "\n")
    for table in tables(f"{codec.name}, {len(paths)} images", rows_of(found), compared):
        Console().print(table)


if __name__ == "__main__":
    main()
