"""The blind comparison: pairs of equal bytes, a page that tells nothing, and a fair count."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.preference import __main__ as program
from benchmarks.preference.pairs import BYTES_RATIO, RULES, Plan, crop, nearest, of_size, pairs, plan
from benchmarks.preference.votes import Tally, tallies
from models import Picture
from models.evaluation.anchors import of_families
from models.learned.codec import LearnedCodec

(AVIF,) = of_families(("avif-444",))


@pytest.fixture(scope="module")
def large() -> Picture:
    """480 x 460, half smooth and half busy."""
    rng = np.random.default_rng(2)
    rows, columns = np.mgrid[0:460, 0:480]
    light = 60 + 0.2 * columns + 0.1 * rows
    busy = np.where(columns >= 300, rng.normal(0, 30, (460, 480)), 0)
    rgb = np.stack([light + busy, light + 0.8 * busy, 200 - light], 2)
    return Picture.from_array(rgb.clip(0, 255).astype(np.uint8))


def test_two_files_of_a_pair_are_of_the_same_size(codec: LearnedCodec, large: Picture) -> None:
    file = nearest(AVIF, large, 0.3)
    assert len(file) * 8 / large.pixels == pytest.approx(0.3, rel=0.15)
    size = len(of_size(codec, large, len(file)).data)
    assert abs(size - len(file)) <= BYTES_RATIO * len(file)
    with pytest.raises(ValueError, match="within"):
        of_size(codec, large, 20)


def test_crops_follow_their_rule() -> None:
    rgb = np.full((480, 640, 3), 90, np.uint8)
    rgb[:, 400:] = np.random.default_rng(2).integers(0, 255, (480, 240, 3))
    centre, busiest, median = (crop(rgb, rule) for rule in RULES)
    assert centre.of(rgb).shape == (448, 448, 3)
    assert (centre.top, centre.left) == (16, 96)
    assert busiest.left + busiest.width == 640 > median.left + median.width
    small = crop(rgb[:50, :60], "busiest")
    assert (small.top, small.left, small.height, small.width) == (0, 0, 50, 60)


def test_a_seed_decides_order_and_sides() -> None:
    plans = plan(24, (0.15, 0.3), seed=3, controls=4)
    assert plans == plan(24, (0.15, 0.3), seed=3, controls=4) != plan(24, (0.15, 0.3), seed=4, controls=4)
    assert len(plans) == 52
    real = [planned for planned in plans if planned.left is not None]
    assert sorted((planned.picture, planned.bpp) for planned in real) == [
        (number, bpp) for number in range(24) for bpp in (0.15, 0.3)
    ]
    assert 12 < sum(bool(planned.left) for planned in real) < 36
    assert [planned.picture for planned in real] != sorted(planned.picture for planned in real)


def test_both_sides_show_the_same_place_by_the_codec_that_the_key_names(
    codec: LearnedCodec, large: Picture
) -> None:
    plans = [Plan(0, 0.2, left=True), Plan(0, 0.2, left=False)]
    first, second = pairs([("one", large)], plans, codec, AVIF)
    assert (first.left, first.right) == (second.right, second.left) == (codec.name, AVIF.name)
    assert np.array_equal(first.decoded[0], second.decoded[1])
    assert np.array_equal(first.decoded[1], second.decoded[0])
    assert not np.array_equal(*first.decoded)
    for decoded in first.decoded:
        assert np.abs(decoded.astype(int) - first.original).mean() < 25


def test_what_voters_get_tells_nothing(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output = tmp_path / "pairs"
    options = ["--output", str(output), "--bpp", "0.1", "--controls", "1", "--pictures", "1"]
    monkeypatch.setattr(sys, "argv", ["preference", "make", str(folder), *options])
    program.main()
    page = output / "page"
    names = sorted(path.name for path in page.iterdir())
    assert names == sorted(
        [f"{number:03d}-{side}.png" for number in range(2) for side in ("left", "original", "right")]
        + ["index.html"]
    )
    text = (page / "index.html").read_text()
    assert "avif" not in text
    assert "ms-ssim" not in text
    assert "const count = 2;" in text
    key = json.loads((output / "key.json").read_text())["pairs"]
    assert [pair["number"] for pair in key] == [0, 1]
    assert [pair["left"] == pair["right"] for pair in key].count(True) == 1
    for number in range(2):
        with Image.open(page / f"{number:03d}-left.png") as image:
            assert not image.info


@pytest.fixture
def folder(photo: Image.Image, tmp_path: Path) -> Path:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    large = photo.resize((384, 288))
    large.save(pictures / "a.png")
    large.transpose(Image.Transpose.ROTATE_180).save(pictures / "b.png")
    return pictures


KEY = [
    {"number": 0, "picture": "a", "bpp": 0.15, "left": "ours", "right": "avif"},
    {"number": 1, "picture": "b", "bpp": 0.15, "left": "avif", "right": "ours"},
    {"number": 2, "picture": "a", "bpp": 0.3, "left": "avif", "right": "avif"},
]


def test_votes_are_counted_for_ours_whatever_the_side(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    counted = tallies(KEY, [{"0": "left", "1": "right", "2": "left"}, {"0": "right", "1": "right"}], "ours")
    assert counted["all"] == Tally(3, 4)
    assert counted["a"] == Tally(1, 2)
    assert counted["0.15 bpp"] == Tally(3, 4)
    assert counted["controls, left"] == Tally(1, 1)
    with pytest.raises(ValueError, match="'7'"):
        tallies(KEY, [{"7": "left"}], "ours")
    with pytest.raises(ValueError, match="up"):
        tallies(KEY, [{"0": "up"}], "ours")  # type: ignore[dict-item]
    (tmp_path / "key.json").write_text(json.dumps({"pairs": KEY}))
    (tmp_path / "votes.json").write_text(json.dumps({"0": "left", "1": "right"}))
    options = ["count", str(tmp_path / "key.json"), str(tmp_path / "votes.json"), "--ours", "ours"]
    monkeypatch.setattr(sys, "argv", ["preference", *options])
    program.main()
    shown = capsys.readouterr().out
    assert "100%" in shown
    assert "not enough for a claim" in shown


def test_intervals_are_wilsons() -> None:
    """The first by hand; the second is of R's `binom.confint(9, 10, methods="wilson")`."""
    assert Tally(60, 100).interval == pytest.approx((0.5020, 0.6906), abs=1e-4)
    assert Tally(9, 10).interval == pytest.approx((0.5958, 0.9821), abs=1e-4)
    assert Tally(0, 0).interval == (0, 1)
    assert Tally(60, 100).is_preferred
    assert not Tally(58, 100).is_preferred
    assert not Tally(6, 8).is_preferred
