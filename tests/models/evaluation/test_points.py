"""Points are measured right, kept on disk, and not measured twice."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from models.evaluation import judges, points
from models.evaluation.anchors import Anchor, of_families
from models.evaluation.judges import Judge
from models.evaluation.points import (
    PIXEL_EXACT_PSNR,
    AnchorPoints,
    StoredPoint,
    budget_of,
    fingerprint,
    largest_within,
    measure,
)
from models.picture import Picture

RESULTS = Path(__file__).parents[3] / "models" / "evaluation" / "results"
JPEG, WEBP = of_families(("jpeg", "webp"))


@pytest.fixture(scope="module")
def picture(photo: Image.Image) -> Picture:
    return Picture.from_image(photo)


def test_measure_counts_the_whole_file(picture: Picture) -> None:
    off_by_one = Picture.from_array(np.where(picture.rgb < 255, picture.rgb + 1, 254).astype(np.uint8))
    point = measure(picture, off_by_one, setting=3, size=picture.pixels // 16)
    assert (point.setting, point.bpp) == (3, 0.5)
    assert point.psnr == pytest.approx(20 * np.log10(255), abs=1e-3)
    assert 0.99 < point.ms_ssim < 1


def test_identical_pictures_have_a_finite_psnr(picture: Picture) -> None:
    point = measure(picture, picture, setting=0, size=1)
    assert (point.psnr, point.ms_ssim) == pytest.approx((PIXEL_EXACT_PSNR, 1))


@pytest.mark.parametrize("path", sorted(RESULTS.glob("*-anchors.json")), ids=lambda path: path.stem)
def test_files_of_before_are_read_and_written_alike(path: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copy(path, tmp_path))
    AnchorPoints(copy).save()
    assert copy.read_bytes() == path.read_bytes()


@pytest.mark.parametrize("row", [[900], [900, 30.25, 0.95], [900, 30.25, 0.95, {"cvvdp": 9.5}]])
def test_a_stored_point_is_as_long_as_what_was_taken(row: list[Any]) -> None:
    stored = StoredPoint(*row)
    assert stored.to_json() == row
    assert (stored.to_point(7, 1000, ()) is None) == (len(row) < 3)
    assert (stored.to_point(7, 1000, ["cvvdp"]) is None) == (len(row) < 4)
    assert stored.to_point(7, 1000, ["cvvdp", "vmaf"]) is None


def test_budgets_are_whole_bytes_within_the_rate() -> None:
    assert budget_of(0.15, 1000) == 18
    assert budget_of(8, 10) == 10


def test_points_survive_on_disk(picture: Picture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "points.json"
    first = AnchorPoints(path)
    measured = first.sweep(JPEG, picture)
    first.save()
    assert list(tmp_path.iterdir()) == [path]

    def refuse(*_: object) -> bytes:
        raise AssertionError("encoded again")

    monkeypatch.setattr(Anchor, "encode", refuse)
    again = AnchorPoints(path).sweep(JPEG, picture)
    assert [(point.size, point.setting) for point in again] == [
        (point.size, point.setting) for point in measured
    ]
    assert [point.psnr for point in again] == pytest.approx([point.psnr for point in measured], abs=1e-4)


def test_another_picture_codec_or_method_is_measured_anew(
    picture: Picture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "points.json"
    known = AnchorPoints(path)
    known.point(JPEG, picture, 50)
    known.save()
    mirrored = Picture.from_array(picture.rgb[:, ::-1])
    assert fingerprint(mirrored) != fingerprint(picture)
    assert known.point(JPEG, mirrored, 50) != known.point(JPEG, picture, 50)
    assert known.point(WEBP, picture, 50).size != known.point(JPEG, picture, 50).size
    monkeypatch.setattr(AnchorPoints, "METHOD", "another")
    AnchorPoints(path).save()
    assert '"another"' in path.read_text()
    assert "jpeg" not in path.read_text()


def test_only_judges_that_are_missing_are_asked(
    picture: Picture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Judge] = []
    take = judges.scores

    def counted(pair: judges.Pair, chosen: list[Judge]) -> dict[Judge, float]:
        asked.extend(chosen)
        return take(pair, chosen)

    monkeypatch.setattr(points, "scores", counted)
    path = tmp_path / "points.json"
    quality = JPEG.judged[-1]
    quick = AnchorPoints(path)
    assert quick.point(JPEG, picture, quality).scores == {}
    quick.save()
    first = AnchorPoints(path, ["psnr-hvs"])
    point = first.point(JPEG, picture, quality)
    assert first.point(JPEG, picture, 33).scores == {}, "not at other qualities"
    first.save()
    second = AnchorPoints(path, ["psnr-hvs", "nlpd", "ciede2000"])
    assert set(second.point(JPEG, picture, quality).scores) == {"psnr-hvs", "nlpd", "ciede2000"}
    assert asked == ["psnr-hvs", "nlpd", "ciede2000"]
    second.save()
    again = AnchorPoints(path, ["nlpd", "psnr-hvs"]).point(JPEG, picture, quality)
    assert again.scores["psnr-hvs"] == pytest.approx(point.scores["psnr-hvs"], rel=1e-6)
    assert len(asked) == 3


def test_largest_within_equals_trying_them_all(picture: Picture) -> None:
    known = AnchorPoints(None)
    budget = budget_of(1.0, picture.pixels)
    sizes = {quality: len(JPEG.encode(picture, quality)) for quality in range(101)}
    best = known.largest_within(JPEG, picture, budget)
    assert best is not None
    assert best.size <= budget < sizes[int(best.setting) + 1]
    assert known.largest_within(JPEG, picture, 20) is None


def test_largest_within_reaches_the_top_of_the_scale() -> None:
    assert largest_within(lambda quality: quality, [0, 40], 500) == 100
    assert largest_within(lambda quality: quality, [0, 40], 57.7) == 57
