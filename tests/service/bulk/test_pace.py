"""service.bulk.pace"""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from service.bulk.pace import Pace, spoken


def test_the_pace_is_told_from_the_first_result_on() -> None:
    now = 100.0
    pace = Pace(1000, clock=lambda: now)
    assert (pace.per_second, pace.seconds_left, pace.end(datetime.now())) == (None, None, None)
    now = 190.0  # the pool has started
    pace.advance(10)
    assert pace.per_second is None
    now = 200.0
    pace.advance(40)
    assert pace.per_second == 4
    assert pace.seconds_left == 950 / 4
    begin = datetime(2026, 1, 1)
    assert pace.end(begin) == begin + timedelta(seconds=237.5)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "0 s"), (119, "119 s"), (125, "2 min"), (3600, "1 h"), (3725, "1 h 2 min"), (93_700, "1 d 2 h")],
)
def test_times_are_said_in_two_units(seconds: float, text: str) -> None:
    assert spoken(seconds) == text
