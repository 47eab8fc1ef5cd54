"""Rate-distortion plots for the README: our curves, the other codecs measured beside them, and published ones behind, thin and dashed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from models.evaluation.bd_rate import RateQuality
from models.evaluation.curves import METRICS, Curve, Metric
from models.evaluation.report import HEADLINE, Report

PUBLISHED = Path(__file__).with_name("published.json")
AXIS_NAMES: dict[Metric, str] = {"psnr": "PSNR (dB)", "ms-ssim": "MS-SSIM (dB)", "ssimulacra2": "SSIMULACRA2", "vmaf": "VMAF NEG"}
WIDEST = 0.85  # bits per pixel
OURS = ("#c1272d", "#1f5fae", "#7a3e9d", "#d6671f")
FAMILIES = {"avif": "#1e8a54", "webp": "#b57f00", "jpeg": "#4a4a4a", "jxl": "#0e8fa3", "heic": "#9a6a3c"}
GREY = "#8c939c"


@dataclass(frozen=True, slots=True)
class Line:
    """A curve and how it looks."""

    label: str
    points: RateQuality
    colour: str
    width: float
    style: str = "-"
    marker: str = ""


def plot_files(report: Report, output: Path) -> None:
    """Write `NAME-psnr.png`, `NAME-ms-ssim.png` and so on, for every metric that some codec has a curve in."""
    for metric in METRICS:
        if not any(_has(curve, metric) for curve in report.curves):
            continue
        plot(report, metric).savefig(output / f"{report.name}-{metric}.png", dpi=130)


def plot(report: Report, metric: Metric) -> Figure:
    """Quality against bits per pixel, every curve named at its right end."""
    curves = [curve for curve in report.curves if _has(curve, metric)]
    own = [curve for curve in curves if curve.codec in report.ours]
    others = drawn([curve for curve in curves if curve.codec not in report.ours], metric)
    measured = [Line(curve.codec, curve.rate_quality(metric), colour, 2.6, marker="o") for colour, curve in zip(OURS, own, strict=False)]
    measured += [Line(curve.codec, curve.rate_quality(metric), FAMILIES[curve.codec.split("-")[0]], 1.6) for curve in others]
    figure = Figure(figsize=(8.4, 5.2), layout="constrained")
    axes = figure.add_subplot()
    lines = published(report.images, metric) + measured[::-1]
    for line in lines:
        axes.plot(
            line.points.bpp, line.points.quality, line.style, color=line.colour, linewidth=line.width, marker=line.marker, markersize=4.5
        )
    axes.set(xlim=(0, WIDEST), ylim=_limits(lines), xlabel="bits per pixel, whole files", ylabel=AXIS_NAMES[metric])
    axes.set_title(f"{report.name}, mean of {len(report.images)} images", loc="left", fontsize=11)
    axes.grid(color="#e6e9ed", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    _name(axes, lines)
    return figure


def drawn(anchors: Sequence[Curve], metric: Metric) -> list[Curve]:
    """The anchors worth a line: of a family's variants the first, and the one that is best in this metric at the headline rate."""
    families: dict[str, list[Curve]] = {}
    for curve in anchors:
        families.setdefault(curve.codec.split("-")[0], []).append(curve)
    best = [max(variants, key=lambda curve: _at(curve.rate_quality(metric), HEADLINE)) for variants in families.values()]
    return [curve for curve in anchors if curve in best or curve is families[curve.codec.split("-")[0]][0]]


def published(images: Sequence[str], metric: Metric) -> list[Line]:
    """The curves published for exactly this set of images; none for a set of one's own."""
    return [
        Line(curve["codec"], RateQuality(*zip(*curve[metric], strict=True)), GREY, 1.0, "--")
        for image_set in json.loads(PUBLISHED.read_text()).values()
        if set(image_set["images"]) == set(images)
        for curve in image_set["curves"]
        if metric in curve["drawn_in"] and metric in curve
    ]


def _has(curve: Curve, metric: Metric) -> bool:
    return len(curve.rate_quality(metric).bpp) > 1


def _at(points: RateQuality, bpp: float) -> float:
    return float(np.interp(np.log(bpp), np.log(points.bpp), points.quality))


def _limits(lines: Sequence[Line]) -> tuple[float, float]:
    """The qualities between 0.05 bits per pixel and the right edge, with a little room."""
    qualities = [_at(line.points, bpp) for line in lines for bpp in (0.05, WIDEST)]
    margin = (max(qualities) - min(qualities)) / 30 or 1.0  # of an untrained network every quality is the same
    return min(qualities) - margin, max(qualities) + margin


def _name(axes: Axes, lines: Sequence[Line]) -> None:
    """Write each name beside the last visible point of its line, in the order of the lines at the right edge, none over another."""
    low, high = axes.get_ylim()
    lines = sorted(lines, key=lambda line: _continued(line.points, WIDEST))
    heights = _apart([_continued(line.points, WIDEST) for line in lines], (high - low) / 28, high)
    for line, height in zip(lines, heights, strict=True):
        end = min(max(line.points.bpp), WIDEST)
        axes.annotate(
            line.label,
            xy=(end, _at(line.points, end)),
            xytext=(WIDEST * 1.04, height),
            annotation_clip=False,
            va="center",
            fontsize=8.5,
            color="#5f6670" if line.colour == GREY else line.colour,
            fontweight="bold" if line.marker else "normal",
            arrowprops={"arrowstyle": "-", "color": line.colour, "linewidth": 0.6, "shrinkA": 2, "shrinkB": 0, "relpos": (0, 0.5)},
        )


def _continued(points: RateQuality, bpp: float) -> float:
    """The quality at `bpp`, on the line through the last two points where the curve ends before it."""
    if bpp <= points.bpp[-1]:
        return _at(points, bpp)
    before, last = np.log(points.bpp[-2:])
    slope = (points.quality[-1] - points.quality[-2]) / (last - before)
    return float(points.quality[-1] + slope * (np.log(bpp) - last))


def _apart(wanted: Sequence[float], gap: float, highest: float) -> list[float]:
    """Rising heights near the rising `wanted`, at least `gap` apart and, if there is room, none above `highest`."""
    heights: list[float] = []
    for height in wanted:
        heights.append(max(height, heights[-1] + gap) if heights else height)
    for index in reversed(range(len(heights))):
        heights[index] = min(heights[index], highest)
        highest = heights[index] - gap
    return heights
