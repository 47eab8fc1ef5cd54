"""models.rate_control.target"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import TargetError
from models.rate_control import Target, meets
from models.rate_control.target import aim


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"bpp": 0.1, "quality": 3},
        {"bpp": 0},
        {"bpp": 33},
        {"bpp": math.nan},
        {"max_bytes": 0},
        {"max_bytes": 10**5000},
        {"quality": -1},
        {"quality": 100.5},
        {"bpp": 1, "tolerance": 0},
        {"bpp": "0.3"},
        {"bpp": True},
        {"max_bytes": 900.5},
        {"quality": "best"},
        {"bpp": 1, "tolerance": "1 %"},
        {"quality": 5, "min_psnr": 30},
        {"bpp": 1, "max_bytes": 9, "min_psnr": 30},
        {"min_psnr": 101},
        {"min_ms_ssim": 1},
        {"min_ms_ssim": math.nan},
        {"min_ssimulacra2": 100},
        {"min_ssimulacra2": "good"},
    ],
)
def test_senseless_targets_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(TargetError):
        Target(**fields)


def test_numbers_of_numpy_are_numbers() -> None:
    assert Target(max_bytes=np.int64(77)).budget(1000) == 77  # type: ignore[arg-type]
    assert Target(bpp=np.float32(0.5)).budget(1000) == 62  # type: ignore[arg-type]


def test_a_budget_is_rounded_down() -> None:
    assert Target(bpp=0.15).budget(1000) == 18
    assert Target(max_bytes=77).budget(1000) == 77
    assert Target(quality=5).budget(1000) is None


def test_a_stream_meets_its_budget_from_below_and_closely() -> None:
    assert meets(10_000, 10_000)
    assert meets(10_000, 9_900)
    assert not meets(10_000, 9_899)
    assert not meets(10_000, 10_001)
    assert meets(100, 92), "8 bytes are close for any stream"
    assert not meets(100, 91)
    assert meets(10_000, 9_000, tolerance=0.1)


@given(budget=st.integers(1, 10**8), tolerance=st.floats(1e-6, 0.5))
def test_searches_aim_at_a_size_that_meets_the_budget(budget: int, tolerance: float) -> None:
    assert meets(budget, aim(budget, tolerance), tolerance)


def test_minima_stand_alone_or_beside_a_budget() -> None:
    assert Target(min_psnr=30).minima == {"psnr": 30}
    assert Target(min_psnr=30).budget(1000) is None
    both = Target(max_bytes=77, min_ms_ssim=0.9, min_ssimulacra2=0)
    assert (both.minima, both.budget(1000)) == ({"ms-ssim": 0.9, "ssimulacra2": 0}, 77)
    with pytest.raises(TargetError, match=r"Codec\.compress"):
        both.check_for_minima()
    Target(bpp=1).check_for_minima()
