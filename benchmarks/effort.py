"""Gain and cost of encoder effort at equal budgets.

    python -m benchmarks.effort FOLDER [--profile psnr] [--bpp 0.15] [--efforts 0 1 3 5 7]
        [--every 3]
    python -m benchmarks.effort FOLDER --bpp 0.07 0.15 0.3 0.6 --efforts 0 9
        --against avif heic --known FOLDER-anchors.json
    python -m benchmarks.effort FOLDER --profile ms-ssim --quality 43.4 --efforts 5

Prints a table of means over the pictures, in real bytes, post-processed, and writes JSON after
every picture. With several rates it adds BD-rates between the lowest and the highest: against the
first effort, and against other codecs, whose points `ziggurat evaluate` keeps. Those too are taken
at the very rates, picture by picture, because the same rate for every picture and the same quality
for every picture make different means. The last example takes one quality for every picture, as
published curves do: the rate is what comes of it.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import cast

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.program import add_folder, parser, write
from models import Picture, Target
from models.evaluation.anchors import of_families
from models.evaluation.curves import Mean, MeasuredCurve, QualityMetric, decibels, mean_of
from models.evaluation.points import AnchorPoints, Point, measure
from models.evaluation.report import BDComparison, rounded
from models.evaluation.run import image_paths, read_picture
from models.learned.codec import LearnedCodec
from models.rate_control.pchip import Pchip

METRICS: tuple[QualityMetric, ...] = ("psnr", "ms-ssim")

Trials = Mapping[tuple[int, float], Sequence[tuple[Point, float]]]
"""Points and processor seconds of the pictures, by effort and by rate (or quality) asked for."""


@dataclass(frozen=True, slots=True)
class Row:
    """Means over the pictures at one effort and one rate (or quality) asked for.

    Attributes:
        effort: of the encoder.
        mean: of what came out.
        seconds: that encoding took, of all threads' processor time.
    """

    effort: int
    mean: Mean
    seconds: float


def encode(codec: LearnedCodec, picture: Picture, target: Target, effort: int) -> tuple[Point, float]:
    """Encode a picture; returns what comes out, and the processor seconds."""
    begun = time.process_time()
    stream = codec.encode([picture], [target], effort=effort)[0]
    seconds = time.process_time() - begun
    decoded = codec.decode([stream.data])[0]
    return measure(picture, decoded, setting=stream.quality, size=len(stream.data)), seconds


def rows_of(trials: Trials) -> list[Row]:
    """Take the means of trials, by effort and rate."""
    return [
        Row(
            effort,
            mean_of([point for point, _ in of_setting], setting=setting),
            float(np.mean([seconds for _, seconds in of_setting])),
        )
        for (effort, setting), of_setting in trials.items()
    ]


def at_rates(name: str, sweeps: Sequence[Sequence[Point]], rates: Sequence[float]) -> MeasuredCurve:
    """Make the curve of another codec at exactly these rates, less those that a picture lacks."""
    means = []
    for bpp in sorted(rates):
        points = [_at_rate(sweep, bpp) for sweep in sweeps]
        reached = [point for point in points if point is not None]
        if len(reached) == len(points):
            means.append(mean_of(reached, setting=bpp))
    return MeasuredCurve(name, tuple(means))


def comparisons(
    rows: Sequence[Row], others: Sequence[MeasuredCurve], rates: tuple[float, float]
) -> list[BDComparison]:
    """Compute BD-rates of every effort against all others, and of each against the first."""
    means: dict[int, list[Mean]] = {}
    for row in rows:
        means.setdefault(row.effort, []).append(row.mean)
    first, *more = (MeasuredCurve(f"effort {effort}", tuple(own)) for effort, own in means.items())
    pairs = [(first, anchor) for anchor in others]
    pairs += [(curve, anchor) for curve in more for anchor in (first, *others)]
    return [
        BDComparison.from_curves(curve, anchor, metric, rates=rates)
        for curve, anchor in pairs
        for metric in METRICS
    ]


def tables(title: str, rows: Sequence[Row], compared: Sequence[BDComparison]) -> list[Table]:
    """Lay out means and BD-rates for the terminal."""
    means = Table("effort", "bpp", "PSNR", "MS-SSIM", "dB", "CPU seconds", title=title)
    for row in rows:
        means.add_row(
            str(row.effort),
            f"{row.mean.bpp:.4f}",
            f"{row.mean.psnr:.3f}",
            f"{row.mean.ms_ssim:.5f}",
            f"{decibels(row.mean.ms_ssim):.3f}",
            f"{row.seconds:.2f}",
        )
    rates = Table("", "against", "metric", "bits (dB)")
    for comparison in compared:
        rates.add_row(comparison.codec, comparison.anchor, comparison.metric, comparison.cell())
    return [means, rates] if compared else [means]


def main() -> None:
    """Measure, print and write."""
    arguments = _arguments()
    codec = LearnedCodec.load(arguments.profile)
    anchors = of_families(tuple(arguments.against))
    known = AnchorPoints(arguments.known)
    paths = image_paths(arguments.folder)[:: arguments.every]
    targets = _targets(arguments)
    trials: dict[tuple[int, float], list[tuple[Point, float]]] = {
        (effort, setting): [] for effort in arguments.efforts for setting in targets
    }
    sweeps: dict[str, list[tuple[Point, ...]]] = {anchor.name: [] for anchor in anchors}
    rows: list[Row] = []
    compared: list[BDComparison] = []
    for done, path in enumerate(paths, 1):
        picture = read_picture(path)
        for (effort, setting), of_setting in trials.items():
            of_setting.append(encode(codec, picture, targets[setting], effort))
        for anchor in anchors:
            sweeps[anchor.name].append(known.sweep(anchor, picture))
        rows = rows_of(trials)
        if not arguments.quality and len(targets) > 1:
            others = [at_rates(name, found, list(targets)) for name, found in sweeps.items()]
            compared = comparisons(rows, others, (min(targets), max(targets)))
        facts = _facts(codec, paths[:done], rows, compared)
        write(arguments.output, cast("Mapping[str, object]", rounded(facts)))
    for table in tables(f"{codec.name}, {len(paths)} images", rows, compared):
        Console().print(table)


def _arguments() -> argparse.Namespace:
    options = parser(__doc__, "effort.json")
    add_folder(options, every=True)
    options.add_argument("--profile", default="psnr")
    asked = options.add_mutually_exclusive_group()
    asked.add_argument("--bpp", type=float, nargs="+", default=[0.15])
    asked.add_argument("--quality", type=float, nargs="+", help="one for every picture, instead of a rate")
    options.add_argument("--efforts", type=int, nargs="+", default=[0, 1, 3, 5])
    options.add_argument("--against", nargs="*", default=[], help="other codecs, as in `ziggurat evaluate`")
    options.add_argument("--known", type=Path, help="measured points of the other codecs")
    return options.parse_args()


def _targets(arguments: argparse.Namespace) -> dict[float, Target]:
    if arguments.quality:
        return {quality: Target(quality=quality) for quality in sorted(arguments.quality)}
    return {bpp: Target(bpp=bpp) for bpp in sorted(arguments.bpp)}


def _at_rate(sweep: Sequence[Point], bpp: float) -> Point | None:
    """Interpolate a sweep by PCHIP over ln(rate); None where it does not reach the rate."""
    rising = sorted({point.bpp: point for point in sweep}.items())
    ln_rate = np.log([rate for rate, _ in rising])
    if not ln_rate[0] <= np.log(bpp) <= ln_rate[-1]:
        return None
    psnr = Pchip(ln_rate, np.array([point.psnr for _, point in rising]))
    similarity = Pchip(ln_rate, np.array([decibels(point.ms_ssim) for _, point in rising]))
    return Point(
        setting=bpp,
        size=0,
        bpp=bpp,
        psnr=float(psnr(np.log(bpp))),
        ms_ssim=1 - 10 ** (-float(similarity(np.log(bpp))) / 10),
    )


def _facts(
    codec: LearnedCodec, paths: Sequence[Path], rows: Sequence[Row], compared: Sequence[BDComparison]
) -> dict[str, object]:
    return {
        "model": codec.name,
        "model_id": codec.model_id,
        "post_processor": codec.post_processor.model_id if codec.post_processor else None,
        "images": [path.name for path in paths],
        "rows": [asdict(row) for row in rows],
        "comparisons": [asdict(comparison) for comparison in compared],
    }


if __name__ == "__main__":
    main()
