from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Any

import pytest

from service.engine.errors import DeadlineExceededError, UnavailableError
from service.engine.queue import Job, JobQueue


def red(tasks: Sequence[Any]) -> Sequence[Any]:
    return tasks


def blue(tasks: Sequence[Any]) -> Sequence[Any]:
    return tasks


def job(work: Any, task: Any, pixels: int = 10, seconds: float = 60) -> Job:
    return Job(work, task, pixels, deadline=time.monotonic() + seconds)


def tasks_of(batch: list[Job] | None) -> list[Any]:
    assert batch is not None
    return [one.task for one in batch]


def test_a_batch_is_everything_of_the_oldest_kind_that_fits() -> None:
    queue = JobQueue(max_batch_pixels=30)
    for one in [job(red, 1), job(blue, 2), job(red, 3), job(red, 4), job(red, 5), job(blue, 6)]:
        queue.put(one)

    assert tasks_of(queue.take(0)) == [1, 3, 4]
    assert tasks_of(queue.take(0)) == [2, 6]
    assert tasks_of(queue.take(0)) == [5]
    assert queue.take(0) == []


def test_a_job_over_the_limit_goes_alone() -> None:
    queue = JobQueue(max_batch_pixels=30)
    for one in [job(red, "huge", pixels=1000), job(red, "small")]:
        queue.put(one)

    assert tasks_of(queue.take(0)) == ["huge"]
    assert tasks_of(queue.take(0)) == ["small"]


def test_cancelled_jobs_are_dropped() -> None:
    queue = JobQueue(max_batch_pixels=30)
    jobs = [job(red, number) for number in range(4)]
    for one in jobs:
        queue.put(one)
    jobs[0].future.cancel()
    jobs[2].future.cancel()

    assert tasks_of(queue.take(0)) == [1, 3]
    assert not jobs[1].future.cancel(), "what the device has taken can no longer be cancelled"


def test_late_jobs_are_answered_without_work() -> None:
    queue = JobQueue(max_batch_pixels=30)
    late, punctual = job(red, "late", seconds=-1), job(red, "punctual")
    queue.put(late)
    queue.put(punctual)

    assert tasks_of(queue.take(0)) == ["punctual"]
    with pytest.raises(DeadlineExceededError):
        late.future.result(0)


def test_closing_hands_out_what_is_left_and_takes_no_more() -> None:
    queue = JobQueue(max_batch_pixels=30)
    queue.put(job(red, 1))
    queue.close()

    with pytest.raises(UnavailableError):
        queue.put(job(red, 2))
    assert tasks_of(queue.take(0)) == [1]
    assert queue.take(0) is None


def test_a_waiting_taker_gets_the_first_job_at_once() -> None:
    queue = JobQueue(max_batch_pixels=30)
    threading.Timer(0.01, queue.put, [job(red, 1)]).start()

    assert tasks_of(queue.take(patience=60)) == [1]
