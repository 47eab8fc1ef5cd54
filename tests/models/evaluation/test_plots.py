"""Plots show our curves, the anchors worth a line, and what was published for the same images."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from models.evaluation.curves import Mean, MeasuredCurve
from models.evaluation.plots import _apart, drawn, plot, plot_files, published
from models.evaluation.points import Point
from models.evaluation.report import ImageSweep, Report, TargetPoint

KODAK = [f"kodim{number:02}" for number in range(1, 25)]


def report(images: list[str]) -> Report:
    points = tuple(Point(i, 100, 0.05 * 2**i, 25.0 + 3 * i, 1 - 0.15 / 2**i) for i in range(5))
    sweeps = [ImageSweep(points, (TargetPoint(0.15, points[1], True, 2),))] * len(images)
    theirs = dict.fromkeys(("jpeg", "webp", "avif-420", "avif-420-psnr"), sweeps)
    return Report.from_sweeps("kodak", images, 1, {}, {"ziggurat-psnr": sweeps}, theirs)


def test_files(tmp_path: Path) -> None:
    plot_files(report(["a"]), tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kodak-ms-ssim.png", "kodak-psnr.png"]
    with Image.open(tmp_path / "kodak-psnr.png") as image:
        assert min(image.size) > 500


def test_published_curves_belong_to_their_images() -> None:
    for metric in ("psnr", "ms-ssim"):
        names = [line.label for line in published(KODAK, metric)]
        assert {"VTM", "BPG 4:4:4", "ELIC 2022"} <= set(names)
        assert len(names) == len(set(names))
    assert published(KODAK[:2], "psnr") == []
    assert len(plot(report(KODAK), "psnr").axes[0].lines) == len(published(KODAK, "psnr")) + len(
        plot(report(["a"]), "psnr").axes[0].lines
    )


def test_published_curves_rise() -> None:
    for metric in ("psnr", "ms-ssim"):
        for line in published(KODAK, metric):
            assert list(line.points.bpp) == sorted(line.points.bpp)
            assert list(line.points.quality) == sorted(line.points.quality)


def test_of_a_family_the_first_and_the_best_are_drawn() -> None:
    def curve(name: str, psnr: float) -> MeasuredCurve:
        return MeasuredCurve(name, (Mean(0, 0.1, psnr, 0.9), Mean(1, 0.4, psnr + 5, 0.99)))

    anchors = [
        curve("jpeg", 20),
        curve("avif-420", 28),
        curve("avif-420-psnr", 29),
        curve("avif-444-psnr", 30),
        curve("heic-444", 27),
    ]
    assert [curve.codec for curve in drawn(anchors, "psnr")] == [
        "jpeg",
        "avif-420",
        "avif-444-psnr",
        "heic-444",
    ]


def test_names_do_not_overlap() -> None:
    assert _apart([1.0, 1.1, 5.0, 9.9, 10.0], 0.5, 10.0) == pytest.approx([1.0, 1.5, 5.0, 9.5, 10.0])
    assert _apart([], 0.5, 10.0) == []
