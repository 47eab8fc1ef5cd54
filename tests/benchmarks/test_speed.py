"""Ratios are of the same round, limits are judged, and a worker measures all that is asked for."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

import pytest
from PIL import Image

from benchmarks.child import Child, cores, pinned
from benchmarks.markdown import markdown
from benchmarks.roofline import Peaks, Work
from benchmarks.speed import (
    PROMISES,
    Ratio,
    Roofline,
    Way,
    avif_quality,
    promised,
    roofline_table,
    targets_table,
)
from benchmarks.speed_worker import BPP, Job, to_avif
from models import Picture, Target
from models.learned.codec import LearnedCodec

TWO = Way(bfloat16=False, cores=2)
ONE = Way(bfloat16=False, cores=1)


def test_a_ratio_is_the_median_of_the_rounds() -> None:
    ratio = Ratio.of("encode", str(TWO), [2.0, 4.0, 9.0], [1.0, 1.0, 3.0], limit=3.0)
    assert (ratio.value, ratio.of_least, ratio.met) == (3.0, 2.0, True)
    assert not Ratio.of("gain", str(TWO), [3.0], [2.0], limit=1.6, at_least=True).met


def test_promises_are_judged_where_their_yardstick_was_measured() -> None:
    two = {"encode": [1.0], "decode": [2.0], "bare encode": [0.4], "avif encode": [4.0]}
    one = {"encode": [1.7], "decode": [2.2], "bare encode": [1.0]}
    ratios = promised({TWO: two, ONE: one})
    assert [(ratio.name, ratio.way, ratio.met) for ratio in ratios] == [
        ("encode / bare g_a + h_a as 0.3.0", "float32, 2 cores", False),
        ("encode / bare g_a + h_a as 0.3.0", "float32, 1 core", True),
        ("encode / AVIF speed 6", "float32, 2 cores", True),
        ("encode on one core / on 2", "float32, 2 cores", True),
        ("decode on one core / on 2", "float32, 2 cores", False),
    ]
    table = markdown(targets_table(ratios))
    assert "| encode / AVIF speed 6 | 0.25 |  | <= 0.5 | yes |" in table
    assert "| encode / bare g_a + h_a as 0.3.0 | 2.50 | 1.70 | <= 2 | missed in 1 of 2 |" in table


def test_avif_gets_the_bytes_that_our_stream_has(photo: Image.Image, tmp_path: Path) -> None:
    photo.save(tmp_path / "a.png")
    codec = LearnedCodec.load("psnr", bfloat16=False)
    ours = len(codec.encode([Picture.from_image(photo)], [Target(bpp=BPP)])[0].data)
    found = avif_quality(tmp_path / "a.png", codec)
    distances = [abs(len(to_avif(photo, quality, 1)) - ours) for quality in (found - 1, found, found + 1)]
    assert distances[1] == min(distances)


def test_a_stage_is_held_against_what_limits_it() -> None:
    peaks = Peaks(bfloat16=1e12, float32=1e11, copied=1e10)
    assert peaks.least_seconds(Work(10**11, 10, bfloat16=True)) == pytest.approx(0.1)
    assert peaks.least_seconds(Work(10**11, 10)) == pytest.approx(1.0)
    assert peaks.least_seconds(Work(10, 10**10)) == pytest.approx(1.0)


def test_a_stage_does_not_count_those_that_it_contains() -> None:
    coder = {
        "title": "encode coder",
        "operations": 0,
        "moved": 1,
        "least_seconds": 0.1,
        "contains": ["encode net"],
    }
    net = {**coder, "title": "encode net", "contains": []}
    answer = {"peaks": {"float32": 1e9, "copied": 1e9}, "stages": [net, coder]}
    seconds = {"encode net": [3.0, 2.0], "encode coder": [2.5], "encode": [4.0], "decode": [1.0]}
    roofline = Roofline.of(TWO, answer, seconds)
    assert [line.seconds for line in roofline.lines] == [2.0, 0.5]
    assert roofline.rest == {"encode": 1.5, "decode": 1.0}
    assert "| encode, the rest |" in markdown(roofline_table(roofline))


def test_a_worker_measures_everything_on_its_core(photo: Image.Image, tmp_path: Path) -> None:
    photo.crop((0, 0, 64, 64)).save(tmp_path / "a.png")
    job = Job([str(tmp_path / "a.png")], "psnr", threads=1, bfloat16=False, avif_qualities=[40])
    command = [sys.executable, "-m", "benchmarks.speed_worker", json.dumps(asdict(job))]
    with Child(pinned(command, 1), tmp_path / "log") as child:
        seconds = child.ask(["codec", "bare", "avif", "published", "stages"])
        roofline = child.ask("roofline")
    measured = {promise.measured for promise in PROMISES} | {promise.over for promise in PROMISES}
    assert {name for name in measured if "compressai" not in name} <= seconds.keys()
    assert all(value > 0 for value in seconds.values())
    works = {stage["title"]: stage for stage in roofline["stages"]}
    assert works.keys() <= seconds.keys()
    assert works["encode g_a"]["operations"] > 64 * 64 * 2 * 40_000  # the 40 kMAC of the documentation
    assert works["encode context networks"]["operations"] > 0


def test_a_child_sees_the_cores_that_it_may_use(tmp_path: Path) -> None:
    code = "import os, sys; [print(len(os.sched_getaffinity(0)), flush=True) for line in sys.stdin]"
    with Child(pinned([sys.executable, "-c", code], 1), tmp_path / "log") as child:
        assert child.ask() == 1
    assert cores()


def test_a_child_that_fails_says_why(tmp_path: Path) -> None:
    with (
        Child([sys.executable, "-c", "raise SystemExit('no such thing')"], tmp_path / "log") as child,
        pytest.raises(RuntimeError, match="no such thing"),
    ):
        child.ask()
