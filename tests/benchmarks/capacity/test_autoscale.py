"""A scaler follows its load, no sooner than replicas can be there."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.capacity.autoscale import DAY, Scaler, curve, run

QUEUE = Scaler("queue", 0.5)
STEP = np.array([100.0] * 900 + [200.0] * 900)


def test_a_steady_load_keeps_its_replicas() -> None:
    day = run(np.full(1800, 100.0), QUEUE, replica=10, room=100, seconds=0.3)
    assert set(day.replicas) == {20}
    assert day.refused == 0
    assert day.replica_hours == pytest.approx(10)


def test_twice_the_load_gets_twice_the_replicas_once_they_have_started() -> None:
    day = run(STEP, QUEUE, replica=10, room=100, seconds=0.3)
    assert day.replicas[-1] == 40
    assert day.waited.max() == 0  # half of the room was head room
    tight = run(STEP, Scaler("queue", 0.8), replica=10, room=1000, seconds=0.3)
    # 13 replicas do 130: until others have started, work for 70 more a second waits.
    assert tight.waited[900 + 135] == pytest.approx(135 * 70 / 130, rel=0.15)
    assert tight.waited[-1] == 0


def test_what_has_no_room_is_refused() -> None:
    day = run(STEP, Scaler("queue", 1.0, start=1e9), replica=10, room=10, seconds=0.3)
    assert day.refused == pytest.approx((900 * 100 - 100) / STEP.sum(), rel=0.01)
    assert day.waited.max() == pytest.approx(1.0)


def test_who_sees_the_queue_asks_for_enough_at_once() -> None:
    load = np.array([100.0] * 900 + [500.0] * 900)
    days = [
        run(load, Scaler("", 0.7, sees_queue=sees), replica=10, room=1000, seconds=0.3)
        for sees in (True, False)
    ]
    assert days[0].waited.sum() < days[1].waited.sum()


def test_replicas_go_only_after_a_while() -> None:
    day = run(STEP[::-1].copy(), QUEUE, replica=10, room=100, seconds=0.3)
    assert day.replicas[900 + 290] == 40
    assert day.replicas[900 + 330] == 20


def test_a_day_has_its_mean_and_its_bursts() -> None:
    load = curve(100.0, bursts=0)
    assert len(load) == DAY
    assert load.mean() == pytest.approx(100)
    assert [load.min(), load.max()] == pytest.approx([40, 160])
    assert load.argmin() == 4 * 3600
    assert curve(100.0).max() > 160
