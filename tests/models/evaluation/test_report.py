"""A report's numbers follow from its sweeps, and its tables say what they mean."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from pathlib import Path

import pytest

from models.evaluation.curves import METRICS, decibels
from models.evaluation.judges import JUDGES, Judge
from models.evaluation.points import Point
from models.evaluation.report import HEADLINE, ImageSweep, Report, TargetPoint, rounded

RESULTS = Path(__file__).parents[3] / "models" / "evaluation" / "results"
RATES = (0.05, 0.1, 0.2, 0.4, 0.8, 1.2)


def scores(index: int) -> dict[Judge, float]:
    """Scores that rise evenly in their own scale, or fall where less is better."""
    found: dict[Judge, float] = {judge: 20.0 + 10 * index for judge in JUDGES if judge != "vmaf-neg"}
    found |= dict.fromkeys(("ms-ssim-y", "fsimc", "iw-ssim"), 1 - 0.2 / 2**index)
    return found | {"nlpd": 0.5 / 2**index, "ciede2000": 8.0 - index}


def sweep(factor: float, *, bpp: float = HEADLINE, met: bool = True, judged: bool = True) -> ImageSweep:
    """A picture of 8000 pixels that takes `factor` times the bits of another; 4 dB a doubling."""
    points = [
        Point(
            index,
            round(1000 * factor * rate),
            factor * rate,
            24 + 4 * index,
            1 - 0.2 / 2**index,
            scores(index) if judged else {},
        )
        for index, rate in enumerate(RATES)
    ]
    return ImageSweep(
        tuple(points), (TargetPoint(HEADLINE, Point(1.5, round(1000 * bpp), bpp, 30.0, 0.92), met, probes=3),)
    )


@pytest.fixture
def report() -> Report:
    ours = {"ziggurat-psnr": [sweep(0.8, bpp=0.1499), sweep(0.8, bpp=0.1485)]}
    theirs = {
        "webp": [sweep(1.0, bpp=0.148), sweep(1.0)],
        "jpeg": [sweep(4.0, bpp=0.2, met=False), sweep(1.0)],
    }
    versions = {"ziggurat-psnr": "model 0123abcd", "webp": "webp 1.6", "jpeg": "jpeg 3"}
    return Report.from_sweeps("pictures", ["a", "b"], 16000, versions, ours, theirs)


def test_bd_rate_of_a_codec_that_saves_a_fifth(report: Report) -> None:
    found = {(row.anchor, row.metric): row.bd for row in report.comparisons}
    assert {metric for _, metric in found} == set(METRICS) - {"vmaf-neg"}
    for metric in {metric for _, metric in found}:
        bd = found["webp", metric]
        assert bd is not None
        assert bd.percent == pytest.approx(-20)


def test_the_mean_of_seven_needs_all_seven(report: Report) -> None:
    assert report.mean_of_seven("ziggurat-psnr", "webp") == pytest.approx(-20)
    without = [row for row in report.comparisons if (row.anchor, row.metric) != ("webp", "nlpd")]
    assert replace(report, comparisons=tuple(without)).mean_of_seven("ziggurat-psnr", "webp") is None
    assert "| webp | -20.0 % |" in report.markdown()


def test_a_report_without_judges_does_not_speak_of_them() -> None:
    ours, theirs = ([sweep(factor, judged=False)] for factor in (0.8, 1.0))
    report = Report.from_sweeps("pictures", ["a"], 8000, {}, {"ziggurat-psnr": ours}, {"webp": theirs})
    assert {row.metric for row in report.comparisons} == {"psnr", "ms-ssim"}
    assert not any(word in report.markdown() for word in ("judge", "mean of seven", "VMAF"))


def test_at_the_headline_rate(report: Report) -> None:
    ours, webp, jpeg = report.at_rate
    assert ours.real is not None
    assert ours.real.bpp == pytest.approx(0.1492)
    assert webp.interpolated is not None
    assert webp.interpolated.bpp == HEADLINE
    assert 28 < webp.interpolated.psnr < 32
    assert (jpeg.real, jpeg.reached, jpeg.interpolated) == (None, 1, None)


def test_rate_control_statistics(report: Report) -> None:
    (row,) = report.operating
    assert row.ratio == pytest.approx((0.99, 0.9946667, 0.9993333), abs=1e-6)
    assert (row.met, row.probes, row.target_bpp) == (2, (3, 3, 3), HEADLINE)


def test_json_holds_everything(report: Report) -> None:
    document = json.loads(report.json())
    assert document["images"] == ["a", "b"]
    assert {curve["codec"] for curve in document["curves"]} == {"ziggurat-psnr", "webp", "jpeg"}
    assert document["ours"] == ["ziggurat-psnr"]


@pytest.mark.parametrize("name", ["kodak", "photos"])
def test_reports_of_before_have_todays_fields_and_digits(name: str) -> None:
    text = (RESULTS / f"{name}.json").read_text()
    document = json.loads(text)
    assert list(document) == [field.name for field in fields(Report)]
    assert json.dumps(rounded(document), separators=(",", ":")) + "\n" == text


def test_markdown(report: Report) -> None:
    text = report.markdown()
    assert text.startswith("# pictures: 2 images, 0.0 megapixels\n")
    assert f"| ziggurat-psnr | 0.1492 | 30.00 | 0.9200 | {decibels(0.92):.2f} |" in text
    assert "| jpeg | 1 of 2 images | – | – | – | – | – | – |" in text
    assert "| ziggurat-psnr | 0.15 | 0.1492 | 0.9900 / 0.9947 / 0.9993 | 2 of 2 | 3 / 3 / 3 | 30.00 |" in text
    assert "| PSNR, against | ziggurat-psnr |" in text
    assert "-20.0 % (" in text
    tables = [block.splitlines() for block in text.split("\n\n") if block.startswith("|")]
    assert len(tables) == 3 + len(METRICS) - 1 + 1, "none for VMAF NEG, which nobody took"
    assert "| SSIMULACRA2, against | ziggurat-psnr |" in text
    assert all(len({line.count("|") for line in table}) == 1 for table in tables)


def test_without_ours_there_is_nothing_to_compare() -> None:
    report = Report.from_sweeps("pictures", ["a"], 8000, {"webp": "webp 1.6"}, {}, {"webp": [sweep(1.0)]})
    assert "BD-rate" not in report.markdown()
    assert not report.comparisons
    assert not report.operating
