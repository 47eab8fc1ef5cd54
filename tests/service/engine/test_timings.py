from __future__ import annotations

import time

import pytest

from service.engine.timings import DECODE, FINISH, READ_HEADER, StageTimer, Timings
from service.metrics import Metrics


def seconds(metrics: Metrics, stage: str) -> tuple[float | None, float | None]:
    """Number and sum of the durations of a stage."""
    value = metrics.registry.get_sample_value
    name = "ziggurat_stage_duration_seconds"
    return value(f"{name}_count", {"stage": stage}), value(f"{name}_sum", {"stage": stage})


def test_a_duration_is_told_to_prometheus_and_to_the_request_alike() -> None:
    metrics = Metrics()
    timings = Timings()
    with StageTimer(metrics).timed(DECODE, timings):
        time.sleep(0.01)

    assert seconds(metrics, "decode") == (1, timings.seconds["decode"])
    assert timings.seconds["decode"] >= 0.01


def test_only_the_request_is_told_of_its_wait() -> None:
    metrics = Metrics()
    timings = Timings()
    with StageTimer(metrics).timed(DECODE, timings, since=time.monotonic() - 5):
        pass

    assert timings.seconds["decode"] > 5
    _, decode_sum = seconds(metrics, "decode")
    assert decode_sum is not None
    assert decode_sum < 1


def test_what_fails_is_recorded_too() -> None:
    metrics = Metrics()
    timings = Timings()
    with pytest.raises(KeyError), StageTimer(metrics).timed(DECODE, timings):
        raise KeyError

    assert seconds(metrics, "decode")[0] == 1
    assert list(timings.seconds) == ["decode"]


def test_a_step_may_have_another_name_in_the_request_or_none() -> None:
    metrics = Metrics()
    timings = Timings()
    timer = StageTimer(metrics)
    for step in (READ_HEADER, FINISH):
        with timer.timed(step, timings):
            pass

    assert seconds(metrics, "header")[0] == seconds(metrics, "decode")[0] == 1
    assert list(timings.seconds) == ["finish"]


def test_names_come_in_the_order_in_which_they_were_met() -> None:
    timings = Timings()
    timings.add("decode", 1)
    timings.begin_coding()
    timings.add("entropy", 2)
    timings.add("store", 3)
    timings.add("queue", 4)
    timings.add("entropy", 5)

    assert list(timings.seconds.items()) == [
        ("decode", 1),
        ("queue", 4),
        ("device", 0),
        ("entropy", 7),
        ("store", 3),
    ]
