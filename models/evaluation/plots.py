"""Rate-distortion plots for the README.

Our curves, the other codecs measured beside them, and published ones behind, thin and dashed.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from models.evaluation.bd_rate import RateQuality
from models.evaluation.curves import MeasuredCurve, QualityMetric
from models.evaluation.report import HEADLINE, Report

PUBLISHED = Path(__file__).with_name("published.json")
AXIS_NAMES: dict[QualityMetric, str] = {  # of the metrics that are drawn
    "psnr": "PSNR (dB)",
    "ms-ssim": "MS-SSIM (dB)",
    "ssimulacra2": "SSIMULACRA2",
    "vmaf-neg": "VMAF NEG",
    "cvvdp": "CVVDP (JOD)",
}
FIGURE_SIZE = (8.4, 5.2)  # inches
RESOLUTION = 130  # pixels per inch
LOWEST_BPP = 0.05  # the vertical axis spans the qualities from here to the right edge
HIGHEST_BPP = 0.85  # right edge
NAMES_AT = 1.04  # horizontal place of the curves' names, relative to the right edge
NAMES_IN_HEIGHT = 28  # as many names fit above each other
OUR_COLOURS = ("#c1272d", "#1f5fae", "#7a3e9d", "#d6671f")
FAMILY_COLOURS = {
    "avif": "#1e8a54",
    "webp": "#b57f00",
    "jpeg": "#4a4a4a",
    "jxl": "#0e8fa3",
    "heic": "#9a6a3c",
    "vvc": "#c2447f",
}
GREY = "#8c939c"
GREY_TEXT = "#5f6670"
GRID_COLOUR = "#e6e9ed"


@dataclass(frozen=True, slots=True)
class Line:
    """A curve and its looks.

    Attributes:
        label: name beside the curve.
        points: by rising rate.
        colour: for Matplotlib.
        width: in points.
        style: for Matplotlib.
        marker: for Matplotlib; ours have one.
    """

    label: str
    points: RateQuality
    colour: str
    width: float
    style: str = "-"
    marker: str = ""


def plot_files(report: Report, output: Path) -> None:
    """Write `NAME-psnr.png` and so on, for the metrics drawn that some codec has a curve in."""
    for metric in AXIS_NAMES:
        if any(curve.has(metric) for curve in report.curves):
            plot(report, metric).savefig(output / f"{report.name}-{metric}.png", dpi=RESOLUTION)


def plot(report: Report, metric: QualityMetric) -> Figure:
    """Draw quality against bits per pixel, every curve named at its right end."""
    lines = published(report.images, metric) + _measured(report, metric)[::-1]
    figure, axes = new_axes(f"{report.name}, mean of {len(report.images)} images")
    for line in lines:
        axes.plot(
            line.points.bpp,
            line.points.quality,
            line.style,
            color=line.colour,
            linewidth=line.width,
            marker=line.marker,
            markersize=4.5,
        )
    axes.set(
        xlim=(0, HIGHEST_BPP),
        ylim=_limits(lines),
        xlabel="bits per pixel, whole files",
        ylabel=AXIS_NAMES[metric],
    )
    _name(axes, lines)
    return figure


def new_axes(title: str) -> tuple[Figure, Axes]:
    """Make an empty plot in the style of all of them."""
    figure = Figure(figsize=FIGURE_SIZE, layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(title, loc="left", fontsize=11)
    axes.grid(color=GRID_COLOUR, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def drawn(anchors: Sequence[MeasuredCurve], metric: QualityMetric) -> list[MeasuredCurve]:
    """Choose the anchors worth a line.

    Of a family's variants these are the first, and the one that is best in this metric at the
    headline rate.
    """
    families: dict[str, list[MeasuredCurve]] = {}
    for curve in anchors:
        families.setdefault(_family(curve), []).append(curve)
    chosen = []
    for variants in families.values():
        best = max(variants, key=lambda curve: _at(curve.rate_quality(metric), HEADLINE))
        chosen += [variants[0], best]
    return [curve for curve in anchors if curve in chosen]


def published(images: Sequence[str], metric: QualityMetric) -> list[Line]:
    """Find the curves published for exactly this set of pictures; none for a set of one's own."""
    return [
        Line(curve["codec"], RateQuality(*zip(*curve[metric], strict=True)), GREY, 1.0, "--")
        for image_set in json.loads(PUBLISHED.read_text()).values()
        if set(image_set["images"]) == set(images)
        for curve in image_set["curves"]
        if metric in curve["drawn_in"] and metric in curve
    ]


def _measured(report: Report, metric: QualityMetric) -> list[Line]:
    """Make the lines of what was measured, ours first."""
    curves = [curve for curve in report.curves if curve.has(metric)]
    own = [curve for curve in curves if curve.codec in report.ours]
    others = drawn([curve for curve in curves if curve.codec not in report.ours], metric)
    lines = [
        Line(curve.codec, curve.rate_quality(metric), colour, 2.6, marker="o")
        for colour, curve in zip(OUR_COLOURS, own, strict=False)
    ]
    lines += [
        Line(curve.codec, curve.rate_quality(metric), FAMILY_COLOURS[_family(curve)], 1.6) for curve in others
    ]
    return lines


def _family(curve: MeasuredCurve) -> str:
    return curve.codec.split("-")[0]


def _at(points: RateQuality, bpp: float) -> float:
    """Read a curve's quality, linear in ln(rate); beyond its ends, that of its ends."""
    return float(np.interp(np.log(bpp), np.log(points.bpp), points.quality))


def _limits(lines: Sequence[Line]) -> tuple[float, float]:
    """Span the qualities from LOWEST_BPP to the right edge, with a little room."""
    qualities = [_at(line.points, bpp) for line in lines for bpp in (LOWEST_BPP, HIGHEST_BPP)]
    lowest = min(qualities)
    highest = max(qualities)
    margin = (highest - lowest) / 30 or 1.0  # an untrained network has the same quality everywhere
    return lowest - margin, highest + margin


def _name(axes: Axes, lines: Sequence[Line]) -> None:
    """Write each name beside the last visible point of its line.

    They are in the order of the lines at the right edge, and none lies over another.
    """
    low, high = axes.get_ylim()
    lines = sorted(lines, key=lambda line: _continued(line.points, HIGHEST_BPP))
    wanted = [_continued(line.points, HIGHEST_BPP) for line in lines]
    heights = _apart(wanted, (high - low) / NAMES_IN_HEIGHT, high)
    for line, height in zip(lines, heights, strict=True):
        end = min(max(line.points.bpp), HIGHEST_BPP)
        axes.annotate(
            line.label,
            xy=(end, _at(line.points, end)),
            xytext=(HIGHEST_BPP * NAMES_AT, height),
            annotation_clip=False,
            va="center",
            fontsize=8.5,
            color=GREY_TEXT if line.colour == GREY else line.colour,
            fontweight="bold" if line.marker else "normal",
            arrowprops={
                "arrowstyle": "-",
                "color": line.colour,
                "linewidth": 0.6,
                "shrinkA": 2,
                "shrinkB": 0,
                "relpos": (0, 0.5),
            },
        )


def _continued(points: RateQuality, bpp: float) -> float:
    """Read the quality at `bpp`, past the curve's end on the line through its last two points."""
    if bpp <= points.bpp[-1]:
        return _at(points, bpp)
    before, last = np.log(points.bpp[-2:])
    slope = (points.quality[-1] - points.quality[-2]) / (last - before)
    return float(points.quality[-1] + slope * (np.log(bpp) - last))


def _apart(wanted: Sequence[float], gap: float, highest: float) -> list[float]:
    """Find rising heights near the rising `wanted`.

    They are at least `gap` apart and, if there is room, none is above `highest`.
    """
    heights: list[float] = []
    for height in wanted:
        heights.append(max(height, heights[-1] + gap) if heights else height)
    for index in reversed(range(len(heights))):
        heights[index] = min(heights[index], highest)
        highest = heights[index] - gap
    return heights
