"""Two checkouts are timed in turns: here this one against itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from benchmarks.before_after import WORKER, Row
from benchmarks.before_after_worker import PROFILES

ROOT = Path(__file__).parents[2]


def test_ratios_are_of_times_of_the_same_round() -> None:
    row = Row.from_rounds("encode", [({"encode": 2.0}, {"encode": 1.0}), ({"encode": 4.0}, {"encode": 5.0})])
    assert row.ratios == pytest.approx([0.5, 1.25])
    assert (row.old, row.new) == ([2.0, 4.0], [1.0, 5.0])


def test_the_worker_times_the_codecs_of_the_checkout_that_it_is_given(
    photo: Image.Image, tmp_path: Path
) -> None:
    photo.crop((0, 0, 64, 64)).save(tmp_path / "a.png")
    ran = subprocess.run(
        [sys.executable, "-P", str(WORKER), str(tmp_path / "a.png")],
        input=b"\n\n",
        capture_output=True,
        check=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    rounds = [json.loads(line) for line in ran.stdout.splitlines()]
    assert len(rounds) == 2
    for seconds in rounds:
        assert {name.split()[0] for name in seconds} == set(PROFILES)
        assert all(value > 0 for value in seconds.values())
