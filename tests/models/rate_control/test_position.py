"""Position: one point on the quality axis, in every unit that there is of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.rate_control import COARSEST, FINEST, Position


@given(st.integers(0, 65535))
def test_every_unit_leads_back(index: int) -> None:
    position = Position(index)
    assert Position.from_quality(position.quality) == Position.from_share(position.share) == position
    assert position.quality == pytest.approx(100 * position.share)
    assert position.anchor(12) == pytest.approx(11 * position.share)
    assert COARSEST <= position <= FINEST


def test_the_ends() -> None:
    assert (COARSEST.quality, COARSEST.share, COARSEST.anchor(12)) == (0, 0, 0)
    assert (FINEST.quality, FINEST.share, FINEST.anchor(12)) == (100, 1, 11)
