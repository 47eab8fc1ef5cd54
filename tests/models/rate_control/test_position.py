"""models.rate_control.position"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.rate_control import COARSEST, FINEST, Position


def test_the_scales_meet_at_the_ends() -> None:
    assert (COARSEST.index, COARSEST.quality, COARSEST.share, COARSEST.anchor(12)) == (0, 0, 0, 0)
    assert (FINEST.index, FINEST.quality, FINEST.share, FINEST.anchor(12)) == (65535, 100, 1, 11)
    assert COARSEST < FINEST


@given(st.integers(0, 65535))
def test_every_index_comes_back_from_every_scale(index: int) -> None:
    position = Position(index)
    assert Position.from_quality(position.quality) == position
    assert Position.from_share(position.share) == position


@given(st.floats(0, 100))
def test_a_quality_is_kept_to_half_a_step(quality: float) -> None:
    assert Position.from_quality(quality).quality == pytest.approx(quality, abs=50 / 65535 + 1e-9)
