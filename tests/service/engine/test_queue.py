from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.progress import Progress
from service.engine.costs import LARGE_PIXELS
from service.engine.errors import DeadlineExceededError, UnavailableError
from service.engine.queue import MAX_OVERTAKING_BUDGETS, WORTH_A_BATCH, AnyJob, Job, JobQueue


def red(tasks: Sequence[Any], progress: Progress) -> Sequence[Any]:
    return tasks


def blue(tasks: Sequence[Any], progress: Progress) -> Sequence[Any]:
    return tasks


def job(work: Any, task: Any, pixels: int = 10, seconds: float = 60) -> AnyJob:
    return Job(work, task, (1, pixels), pixels, deadline=time.monotonic() + seconds)


def tasks_of(batch: list[AnyJob] | None) -> list[Any]:
    assert batch is not None
    return [queued.task for queued in batch]


def test_a_batch_is_everything_of_the_oldest_kind_that_fits() -> None:
    queue = JobQueue(max_batch_pixels=30)
    for queued in [job(red, 1), job(blue, 2), job(red, 3), job(red, 4), job(red, 5), job(blue, 6)]:
        queue.put(queued)

    assert tasks_of(queue.take(0)) == [1, 3, 4]
    assert tasks_of(queue.take(0)) == [2, 6]
    assert tasks_of(queue.take(0)) == [5]
    assert queue.take(0) == []


def test_a_job_knows_who_waits_before_it() -> None:
    queue = JobQueue(max_batch_pixels=10)
    first, second = job(red, 1), job(red, 2)
    queue.put(first)
    queue.put(second)
    assert [queue.ahead_of(queued) for queued in (first, second)] == [0, 1]
    queue.take(0)
    assert [queue.ahead_of(queued) for queued in (first, second)] == [None, 0]


@pytest.fixture
def other() -> Iterator[ThreadPoolExecutor]:
    """Another thread of the device: one and the same for all that it is given."""
    with ThreadPoolExecutor(1) as thread:
        yield thread


def take_on(other: ThreadPoolExecutor, queue: JobQueue) -> list[Any]:
    return tasks_of(other.submit(queue.take, 0).result())


def test_few_small_jobs_wait_for_the_thread_that_runs_others_of_their_kind(other: ThreadPoolExecutor) -> None:
    queue = JobQueue(max_batch_pixels=4 * WORTH_A_BATCH)
    thumbnail = WORTH_A_BATCH // 4
    queue.put(job(red, 0, thumbnail))
    assert take_on(other, queue) == [0]
    for task in (1, 2, 3):
        queue.put(job(red, task, thumbnail))
        assert queue.take(0) == []

    assert take_on(other, queue) == [1, 2, 3], "the first thread is done, and takes them all"


@pytest.mark.parametrize(
    ("first", "next_one"),
    [
        ((red, 0), (blue, 1)),  # of another kind
        ((red, 0), (red, 1, 11)),  # of another size
        ((red, 0, WORTH_A_BATCH), (red, 1, WORTH_A_BATCH)),  # photographs
        ((red, 0, 2 * LARGE_PIXELS), (red, 1, 2 * LARGE_PIXELS)),
    ],
)
def test_all_others_are_taken_at_once_beside_a_busy_thread(
    other: ThreadPoolExecutor, first: tuple[Any, ...], next_one: tuple[Any, ...]
) -> None:
    queue = JobQueue(max_batch_pixels=4 * WORTH_A_BATCH)
    queue.put(job(*first))  # here and not above: its deadline runs from now
    assert take_on(other, queue) == [0]

    queue.put(job(*next_one))

    assert tasks_of(queue.take(0)) == [1]


def test_enough_small_jobs_are_a_batch_beside_a_busy_thread(other: ThreadPoolExecutor) -> None:
    queue = JobQueue(max_batch_pixels=4 * WORTH_A_BATCH)
    queue.put(job(red, 0, WORTH_A_BATCH // 2))
    assert take_on(other, queue) == [0]
    for task in (1, 2):
        queue.put(job(red, task, WORTH_A_BATCH // 2))

    assert tasks_of(queue.take(0)) == [1, 2]


def test_jobs_that_waited_are_handed_out_when_the_queue_closes(other: ThreadPoolExecutor) -> None:
    queue = JobQueue(max_batch_pixels=4 * WORTH_A_BATCH)
    queue.put(job(red, 0))
    assert take_on(other, queue) == [0]
    queue.put(job(red, 1))
    queue.close()

    assert tasks_of(queue.take(0)) == [1]


def test_a_job_over_the_limit_goes_alone() -> None:
    queue = JobQueue(max_batch_pixels=30)
    for queued in [job(red, "huge", pixels=1000), job(red, "small")]:
        queue.put(queued)

    assert tasks_of(queue.take(0)) == ["huge"]
    assert tasks_of(queue.take(0)) == ["small"]


def test_only_equal_padded_sizes_share_a_batch() -> None:
    queue = JobQueue(max_batch_pixels=30)
    for task, size in enumerate([(2, 5), (5, 2), (2, 5), (5, 2)]):
        queue.put(Job(red, task, size, 10))

    assert tasks_of(queue.take(0)) == [0, 2]
    assert tasks_of(queue.take(0)) == [1, 3]


@given(
    steps=st.lists(
        st.one_of(
            st.tuples(
                st.just("put"),
                st.sampled_from([red, blue]),
                st.sampled_from([(1, 1), (1, 7), (7, 1), (10, 10), (20, 20)]),
            ),
            st.tuples(st.sampled_from(["cancel", "discard"]), st.integers(0, 80)),
            st.tuples(st.just("take")),
        ),
        max_size=80,
    )
)
def test_whatever_comes_in_whatever_order(steps: list[tuple[Any, ...]]) -> None:
    """Every job is taken once; the oldest heads its batch; a batch is within the budget; equals
    keep their order; nobody is overtaken beyond the cap."""
    budget = 100
    queue = JobQueue(max_batch_pixels=budget)
    jobs: list[AnyJob] = []
    waiting: list[AnyJob] = []
    taken: list[AnyJob] = []
    overtaken: Counter[AnyJob] = Counter()

    def take() -> None:
        batch = queue.take(0)
        assert batch is not None
        live = [queued for queued in waiting if not queued.future.cancelled()]
        if not batch:
            assert not live
            waiting.clear()
            return
        assert batch[0] is live[0]
        assert len({(queued.work, queued.size) for queued in batch}) == 1
        assert len(batch) == 1 or sum(queued.padded_pixels for queued in batch) <= budget
        assert (
            batch
            == [queued for queued in live if (queued.work, queued.size) == (batch[0].work, batch[0].size)][
                : len(batch)
            ]
        )
        for left in live:
            if left not in batch:
                overtaken[left] += sum(
                    queued.padded_pixels for queued in batch if jobs.index(queued) > jobs.index(left)
                )
                assert overtaken[left] <= MAX_OVERTAKING_BUDGETS * budget
        taken.extend(batch)
        waiting[:] = [queued for queued in live if queued not in batch]

    for step in steps:
        match step:
            case ("put", work, size):
                jobs.append(Job(work, len(jobs), size, 1))
                waiting.append(jobs[-1])
                queue.put(jobs[-1])
            case ("take",):
                take()
            case (how, number) if number < len(jobs) and jobs[number].future.cancel() and how == "discard":
                queue.discard(jobs[number])
                # A take may have dropped it.
                waiting[:] = [queued for queued in waiting if queued is not jobs[number]]
    while waiting:
        take()
    take()

    assert len(queue) == 0
    assert sorted(taken, key=jobs.index) == [queued for queued in jobs if not queued.future.cancelled()]


def test_a_stream_of_joiners_delays_a_large_picture_by_no_more_than_the_cap() -> None:
    queue = JobQueue(max_batch_pixels=100)
    large = job(red, "large", pixels=90)
    # Of twenty sizes, each with many joiners younger than `large`.
    heads = [Job(red, number, (number + 2, 1), 1) for number in range(20)]
    for queued in [*heads, large, *(Job(red, "joiner", head.size, 1) for head in heads for _ in range(50))]:
        queue.put(queued)

    pixels_before = 0
    while (batch := queue.take(0)) is not None and batch[0] is not large:
        pixels_before += sum(queued.padded_pixels for queued in batch if queued.task == "joiner")

    assert 300 < pixels_before <= MAX_OVERTAKING_BUDGETS * 100


def test_a_discarded_job_is_gone_at_once() -> None:
    queue = JobQueue(max_batch_pixels=30)
    gone = job(red, "gone")
    queue.put(gone)
    gone.future.cancel()
    queue.discard(gone)
    queue.discard(gone)

    assert len(queue) == 0
    assert queue.take(0) == []


def test_cancelled_jobs_are_dropped() -> None:
    queue = JobQueue(max_batch_pixels=30)
    jobs = [job(red, number) for number in range(4)]
    for queued in jobs:
        queue.put(queued)
    jobs[0].future.cancel()
    jobs[2].future.cancel()

    assert tasks_of(queue.take(0)) == [1, 3]
    assert not jobs[1].future.cancel(), "what the device has taken can no longer be cancelled"


def test_late_jobs_are_answered_without_work() -> None:
    queue = JobQueue(max_batch_pixels=30)
    late = job(red, "late", seconds=-1)
    punctual = job(red, "punctual")
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


def test_abandoning_gives_back_what_was_handed_out_and_what_waits() -> None:
    queue = JobQueue(max_batch_pixels=20)
    jobs = [job(red, number) for number in range(4)]
    for queued in jobs:
        queue.put(queued)

    assert tasks_of(queue.take(0)) == [0, 1]
    assert queue.abandon() == jobs
    assert queue.take(0) is None
    with pytest.raises(UnavailableError):
        queue.put(job(red, 5))


def test_the_age_of_the_oldest() -> None:
    queue = JobQueue(max_batch_pixels=20)
    assert queue.oldest_age == 0
    queue.put(Job(red, 1, (1, 1), 1, queued_at=time.monotonic() - 100))
    queue.put(job(red, 2))

    assert 100 <= queue.oldest_age < 200


def test_a_waiting_taker_gets_the_first_job_at_once() -> None:
    queue = JobQueue(max_batch_pixels=30)
    threading.Timer(0.01, queue.put, [job(red, 1)]).start()

    assert tasks_of(queue.take(patience=60)) == [1]


def test_between_the_iterations_of_a_long_job_come_others_but_no_long_one() -> None:
    queue = JobQueue(max_batch_pixels=30)
    long, second = (Job(red, task, (1, 10), 10, long=True) for task in ("long", "second"))
    for queued in [long, job(blue, 1), second, job(red, 2), job(blue, 3)]:
        queue.put(queued)

    assert tasks_of(queue.take(0)) == ["long"], "nothing joins it"
    assert tasks_of(queue.take_between(2)) == [1, 3]
    queue.done_between()
    assert tasks_of(queue.take_between(2)) == [2]
    queue.done_between()
    assert queue.take_between(2) == []
    queue.done_between()
    assert tasks_of(queue.take(0)) == ["second"]


def test_between_tiles_come_small_jobs_and_between_iterations_large_ones_too() -> None:
    queue = JobQueue(max_batch_pixels=30)
    large = [job(red, number, pixels=LARGE_PIXELS + 1) for number in range(3)]
    assert [queued.rank for queued in large] == [1, 1, 1]
    measured = Job(red, 0, (1, LARGE_PIXELS // 2), LARGE_PIXELS // 2, rate=2.1)
    assert measured.rank == 1, "it takes as long as a large one"
    for queued in [*large, job(blue, "small")]:
        queue.put(queued)

    assert tasks_of(queue.take(0)) == [0], "they run alone"
    assert tasks_of(queue.take_between(1)) == ["small"]
    queue.done_between()
    assert queue.take_between(1) == []
    queue.done_between()
    assert tasks_of(queue.take_between(2)) == [1]


def test_a_device_that_dies_between_iterations_answers_for_all_that_it_has_begun() -> None:
    queue = JobQueue(max_batch_pixels=30)
    jobs = [
        Job(red, "long", (1, 10), 10, long=True),
        job(red, "large", pixels=LARGE_PIXELS + 1),
        job(blue, 1),
        job(red, 2),
    ]
    for queued in jobs:
        queue.put(queued)
    queue.take(0)
    queue.take_between(2)
    queue.take_between(1)

    assert queue.abandon() == jobs


def test_a_job_that_is_discarded_knows_that_nobody_waits() -> None:
    queue = JobQueue(max_batch_pixels=30)
    running = job(red, 1)
    queue.put(running)
    queue.take(0)
    queue.discard(running)

    assert running.abandoned
