"""What measures processor time measures it, of real codecs and real servers."""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from pathlib import Path

import psutil
import pytest
from PIL import Image

from benchmarks.capacity import measure


def test_processor_time_is_that_of_the_quickest_turn() -> None:
    turns = iter([0.1, 0.02, 0.1])

    def work() -> None:
        until = time.process_time() + next(turns)
        while time.process_time() < until:
            pass

    assert measure.processor_seconds(work) == pytest.approx(0.02, abs=0.02)
    assert measure.busy(psutil.Process(os.getpid())) > 0


def test_the_quality_of_avif_is_the_largest_within_the_rate(photo: Image.Image) -> None:
    most = measure.BPP * photo.width * photo.height / 8
    quality = measure.nearest_quality(photo)
    assert quality == 1 or len(measure.avif(photo, quality, 8)) <= most
    assert len(measure.avif(photo, quality + 1, 8)) > most


@pytest.mark.skipif(not shutil.which("haproxy", path=f"{os.environ['PATH']}:/usr/sbin"), reason="no HAProxy")
def test_haproxy_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "TURNS", 1)
    monkeypatch.setattr(measure, "SMALL_REQUESTS_OF_BALANCER", 50)
    monkeypatch.setattr(measure, "BODIES", 2)
    costs = asyncio.run(measure.balancer_costs(tmp_path))
    assert set(costs) == {"haproxy, us a request", "haproxy, s/GB of bodies"}
