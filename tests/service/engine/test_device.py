from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import psutil
import pytest
import torch

from models.errors import DamagedStreamError
from models.progress import Progress
from service.engine.costs import LARGE_PIXELS
from service.engine.device import OVERHEAD_PIXELS, DeviceError, DeviceThread
from service.engine.errors import (
    AbandonedError,
    DeadlineExceededError,
    OutOfMemoryError,
    UnavailableError,
)
from service.engine.queue import AnyJob, Job, JobQueue
from service.metrics import Metrics

Work = Callable[[Sequence[Any], Progress], Sequence[Any]]


class Bench:
    """A device thread with a gate in its work, so that a test can pile up a batch behind it."""

    def __init__(self) -> None:
        self.queue = JobQueue(max_batch_pixels=1000)
        self.metrics = Metrics()
        self.device = DeviceThread(self.queue, lambda: 0.0, self.metrics)
        self.batches: list[list[Any]] = []
        self.gate = threading.Event()

    def work(self, tasks: Sequence[Any], progress: Progress) -> Sequence[Any]:
        self.batches.append(list(tasks))
        if "gate" in tasks:
            assert self.gate.wait(10)
        for task in tasks:
            if isinstance(task, BaseException):
                raise task
        return [f"done {task}" for task in tasks]

    def put(self, task: Any, work: Work | None = None) -> AnyJob:
        job = Job(work or self.work, task, (1, 1), 1)
        self.queue.put(job)
        return job


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    bench.device.start()
    bench.device.ready.result(10)
    yield bench
    bench.gate.set()
    bench.queue.close()
    bench.device.join(10)
    assert bench.device.silence == float("inf")


def pile_up(bench: Bench, tasks: Sequence[Any], work: Work | None = None) -> list[AnyJob]:
    """Jobs that the device finds together when it is free again."""
    bench.put("gate")
    while not bench.batches:
        time.sleep(0.001)
    jobs = [bench.put(task, work) for task in tasks]
    bench.gate.set()
    return jobs


def test_what_waits_together_runs_together(bench: Bench) -> None:
    jobs = pile_up(bench, [1, 2, 3])

    assert [job.future.result(10) for job in jobs] == ["done 1", "done 2", "done 3"]
    assert bench.batches == [["gate"], [1, 2, 3]]


def test_only_the_offender_of_a_batch_fails(bench: Bench) -> None:
    fault = RuntimeError("a fault of the network")
    jobs = pile_up(bench, [1, 2, fault, 4])

    assert [jobs[index].future.result(10) for index in (0, 1, 3)] == ["done 1", "done 2", "done 4"]
    with pytest.raises(DeviceError) as caught:
        jobs[2].future.result(10)
    assert caught.value.__cause__ is fault
    assert bench.batches == [["gate"], [1, 2, fault, 4], [1, 2], [fault, 4], [fault], [4]], (
        "halved until it is found"
    )
    assert bench.put(5).future.result(10) == "done 5", "the thread lives on"


@pytest.mark.parametrize(
    "fault",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        MemoryError(),
        RuntimeError("DefaultCPUAllocator: can't allocate memory"),
    ],
    ids=lambda fault: type(fault).__name__,
)
def test_out_of_memory_halves_the_batch(bench: Bench, fault: Exception) -> None:
    def work(tasks: Sequence[Any], progress: Progress) -> Sequence[Any]:
        bench.batches.append(list(tasks))
        if len(tasks) > 2 or "large" in tasks:
            raise fault
        return tasks

    jobs = pile_up(bench, [1, 2, 3, "large"], work)

    assert [job.future.result(10) for job in jobs[:3]] == [1, 2, 3]
    with pytest.raises(OutOfMemoryError):
        jobs[3].future.result(10)
    assert bench.batches[1:] == [[1, 2, 3, "large"], [1, 2], [3, "large"], [3], ["large"]]
    assert bench.metrics.registry.get_sample_value("ziggurat_device_out_of_memory_total") == 3


def test_a_failed_batch_is_gone_from_memory_before_its_halves_run(bench: Bench) -> None:
    alive: list[weakref.ref[Any]] = []

    def work(tasks: Sequence[Any], progress: Progress) -> Sequence[Any]:
        assert all(tensor() is None for tensor in alive)
        activations = torch.zeros(10)
        alive.append(weakref.ref(activations))
        raise MemoryError

    for job in pile_up(bench, [1, 2, 3], work):
        with pytest.raises(OutOfMemoryError):
            job.future.result(10)
    assert len(alive) == 5


@pytest.mark.parametrize(
    "fault", [torch.AcceleratorError("CUDA error: an illegal memory access was encountered"), SystemExit()]
)
def test_what_the_device_does_not_recover_from_ends_it_and_answers_everybody(
    bench: Bench, fault: BaseException
) -> None:
    other = [bench.put("gate")]
    while not bench.batches:
        time.sleep(0.001)
    jobs = [bench.put(task) for task in (1, fault, 3)]
    jobs += [bench.put(4, work=lambda tasks, _: tasks)]
    bench.gate.set()

    assert other[0].future.result(10) == "done gate"
    for job in jobs:
        with pytest.raises(UnavailableError):
            job.future.result(10)
    bench.device.join(10)
    assert bench.device.silence == float("inf")
    with pytest.raises(UnavailableError):
        bench.put(5)


def test_typed_errors_arrive_as_they_are(bench: Bench) -> None:
    with pytest.raises(DamagedStreamError, match="checksum"):
        bench.put(DamagedStreamError("checksum")).future.result(10)


def test_the_pulse_stops_while_the_device_is_stuck(bench: Bench) -> None:
    assert bench.device.silence < 5
    bench.put("gate")
    time.sleep(0.05)

    assert 0.02 < bench.device.silence < 5


def test_closing_finishes_what_was_accepted(bench: Bench) -> None:
    jobs = pile_up(bench, range(20))
    bench.queue.close()
    bench.device.join(10)

    assert [job.future.result(0) for job in jobs] == [f"done {number}" for number in range(20)]


def test_a_result_too_few_is_a_fault_of_the_work(bench: Bench) -> None:
    with pytest.raises(DeviceError):
        bench.put(1, lambda tasks, _: []).future.result(10)
    assert bench.put(2).future.result(10) == "done 2"


def test_a_fault_of_the_thread_itself_answers_everybody(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(images: int, *, pixels: int, padded_pixels: int) -> None:
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr(bench.metrics, "batch", fail)
    for job in pile_up(bench, range(3)):
        with pytest.raises(UnavailableError):
            job.future.result(10)
    bench.device.join(10)
    assert bench.device.silence == float("inf")


def test_two_hundred_that_hung_up_cost_the_device_nothing(bench: Bench) -> None:
    bench.put("gate")
    while not bench.batches:
        time.sleep(0.001)
    jobs = [bench.put(number) for number in range(200)]
    for job in jobs:
        assert job.future.cancel()
    last = bench.put("last")
    bench.gate.set()

    assert last.future.result(10) == "done last"
    assert bench.batches == [["gate"], ["last"]]
    assert bench.metrics.registry.get_sample_value("ziggurat_batch_images_sum") == 2


def test_a_batch_is_measured(bench: Bench) -> None:
    bench.queue.put(job := Job(bench.work, 1, (8, 10), 60))
    job.future.result(10)

    assert job.queue_seconds > 0
    assert job.device_seconds > 0
    assert bench.device.seconds_per_pixel == pytest.approx(job.device_seconds / (80 + OVERHEAD_PIXELS))
    assert bench.metrics.registry.get_sample_value("ziggurat_batch_padding_ratio_sum") == 0.25


def test_what_fails_while_loading_is_told() -> None:
    def fail() -> float:
        raise RuntimeError("no weights")

    device = DeviceThread(JobQueue(1), fail, Metrics())
    device.start()

    with pytest.raises(RuntimeError, match="no weights"):
        device.ready.result(10)


def test_several_threads_run_batches_at_the_same_time() -> None:
    queue = JobQueue(1)
    metrics = Metrics()
    device = DeviceThread(queue, lambda: 0.0, metrics, lanes=2)
    together = threading.Barrier(2)

    def work(tasks: Sequence[Any], progress: Progress) -> Sequence[Any]:
        together.wait(10)  # raises when the other batch does not run meanwhile
        return tasks

    jobs = [Job(work, number, (1, 1), 1) for number in range(2)]
    device.start()
    device.ready.result(10)
    for job in jobs:
        queue.put(job)
    assert [job.future.result(20) for job in jobs] == [0, 1]
    queue.close()
    device.join(10)
    assert device.silence == float("inf")


def test_when_one_of_several_threads_dies_everybody_is_answered() -> None:
    queue = JobQueue(1)
    device = DeviceThread(queue, lambda: 0.0, Metrics(), lanes=2)
    dying = threading.Event()
    held = threading.Event()

    def hold(tasks: Sequence[Any], progress: Progress) -> Sequence[Any]:
        dying.set()
        assert held.wait(10)
        return tasks

    def die(tasks: Sequence[Any], progress: Progress) -> Sequence[Any]:
        assert dying.wait(10)
        raise SystemExit

    jobs = [Job(hold, 0, (1, 1), 1), Job(die, 1, (1, 1), 1), Job(hold, 2, (1, 1), 1)]
    for job in jobs:
        queue.put(job)
    device.start()
    for job in jobs:
        with pytest.raises(UnavailableError):
            job.future.result(20)
    assert device.silence == float("inf")
    held.set()
    device.join(10)


def test_a_long_job_lets_others_run_in_between_and_beats(bench: Bench) -> None:
    def long(tasks: Sequence[Any], progress: Progress) -> Sequence[Any]:
        for _ in tasks:
            bench.gate.wait(10)
            time.sleep(0.05)
            progress.pause()
            assert bench.device.silence < 0.04, "it was seen"
            bench.batches.append(["the long one goes on"])
        return ["done long"]

    others: list[AnyJob] = []
    job = Job(long, "long", (1, 1), 1, long=True)
    bench.queue.put(job)
    while len(bench.queue):
        time.sleep(0.001)
    others += [bench.put(1), bench.put(2)]
    bench.gate.set()

    assert job.future.result(10) == "done long"
    assert bench.batches == [[1, 2], ["the long one goes on"]]
    assert [other.future.result(0) for other in others] == ["done 1", "done 2"]


def test_what_a_long_job_lends_counts_as_its_queue_and_not_as_its_device(bench: Bench) -> None:
    def long(tasks: Sequence[Any], progress: Progress) -> Sequence[Any]:
        bench.gate.wait(10)
        time.sleep(0.02)
        progress.pause()
        return ["done long"]

    def slow(tasks: Sequence[Any], progress: Progress) -> Sequence[Any]:
        time.sleep(0.3)
        return tasks

    job = Job(long, "long", (1, 1), 1, long=True)
    bench.queue.put(job)
    while len(bench.queue):
        time.sleep(0.001)
    other = bench.put(1, slow)
    bench.gate.set()
    job.future.result(10)

    assert job.queue_seconds >= 0.3
    assert job.device_seconds >= 0.02
    assert other.device_seconds >= 0.3
    total = job.queue_seconds + job.device_seconds
    assert total <= time.monotonic() - job.queued_at, "nothing is counted twice"


def test_what_the_device_dies_of_between_iterations_answers_for_all(bench: Bench) -> None:
    def long(tasks: Sequence[Any], progress: Progress) -> Sequence[Any]:
        bench.gate.wait(10)
        progress.pause()
        return ["done long"]

    job = Job(long, "long", (1, 1), 1, long=True)
    bench.queue.put(job)
    while len(bench.queue):
        time.sleep(0.001)
    killer = bench.put(SystemExit())
    bench.gate.set()

    for waiting in (job, killer):
        with pytest.raises(UnavailableError):
            waiting.future.result(10)


LARGE = (2 * LARGE_PIXELS, 1)


@pytest.mark.parametrize("lanes", [1, 2])
def test_small_jobs_run_between_the_tiles_of_large_ones_on_every_lane(lanes: int) -> None:
    """Large ones hold all lanes, and go on only when the small ones behind them are done."""
    queue = JobQueue(1)
    device = DeviceThread(queue, lambda: 0.0, Metrics(), lanes=lanes)
    small: list[AnyJob] = [Job(lambda tasks, _: tasks, number, (1, 1), 1) for number in range(6)]
    given_up = time.monotonic() + 20

    def tiles(tasks: Sequence[Any], progress: Progress) -> Sequence[Any]:
        while not all(job.future.done() for job in small) and time.monotonic() < given_up:
            progress.pause()
        return tasks

    large = [Job(tiles, "large", LARGE, 1) for _ in range(lanes + 1)]  # one more than can run
    for job in [*large, *small]:
        queue.put(job)
    device.start()
    assert [job.future.result(20) for job in small] == list(range(6))
    assert [job.future.result(20) for job in large] == ["large"] * len(large)
    queue.close()
    device.join(10)


def test_a_large_job_runs_between_iterations_and_a_small_one_between_its_tiles(bench: Bench) -> None:
    def in_parts(name: str) -> Work:
        def work(tasks: Sequence[Any], progress: Progress) -> Sequence[Any]:
            bench.batches.append([f"{name} begins"])
            assert bench.gate.wait(10)
            progress.pause()
            bench.batches.append([f"{name} ends"])
            return tasks

        return work

    effort = Job(in_parts("effort"), 1, (1, 1), 1, long=True)
    bench.queue.put(effort)
    while len(bench.queue):
        time.sleep(0.001)
    others = [Job(in_parts("large"), 2, LARGE, 1), bench.put("small")]
    second = Job(in_parts("second effort"), 3, LARGE, 1, long=True)
    for job in (others[0], second):
        bench.queue.put(job)
    bench.gate.set()

    # The small one is the oldest: the first pause has it, that of the large one what comes later.
    assert second.future.result(10) == 3
    assert effort.future.done()
    order = [batch[0] for batch in bench.batches]
    assert order.index("effort ends") < order.index("second effort begins"), "one effort at a time"
    assert order[:2] == ["effort begins", "small"]
    assert effort.queue_seconds + effort.device_seconds <= time.monotonic() - effort.queued_at


@pytest.mark.parametrize("size", [(1, 1), LARGE])
def test_what_nobody_waits_for_ends_with_its_next_pause(bench: Bench, size: tuple[int, int]) -> None:
    alive: list[weakref.ref[Any]] = []

    def tiles(tasks: Sequence[Any], progress: Progress) -> Sequence[Any]:
        activations = torch.zeros(10)
        alive.append(weakref.ref(activations))
        while time.monotonic() < given_up:
            progress.pause()
        return tasks

    given_up = time.monotonic() + 20
    job = Job(tiles, 1, size, 1)
    bench.queue.put(job)
    while not alive:
        time.sleep(0.001)
    bench.queue.discard(job)
    with pytest.raises(AbandonedError):
        job.future.result(10)
    assert alive[0]() is None, "its memory is free"
    assert bench.put(2).future.result(10) == "done 2"


def test_a_batch_goes_on_while_anybody_waits_for_some_of_it(bench: Bench) -> None:
    begun = threading.Event()

    def work(tasks: Sequence[Any], progress: Progress) -> Sequence[Any]:
        begun.set()
        assert left.wait(10)
        progress.pause()
        return tasks

    left = threading.Event()
    jobs = pile_up(bench, [1, 2], work)
    assert begun.wait(10)
    bench.queue.discard(jobs[0])
    left.set()
    assert jobs[1].future.result(10) == 2


def test_what_is_too_late_ends_with_its_next_pause(bench: Bench) -> None:
    def tiles(tasks: Sequence[Any], progress: Progress) -> Sequence[Any]:
        while time.monotonic() < given_up:
            progress.pause()
        return tasks

    given_up = time.monotonic() + 20
    job = Job(tiles, 1, LARGE, 1, deadline=time.monotonic() + 0.05)
    bench.queue.put(job)
    with pytest.raises(DeadlineExceededError):
        job.future.result(10)


def test_the_speed_is_that_of_quantising_whatever_runs(bench: Bench) -> None:
    for rate in (0.0, 4.0):  # what has no rate says nothing
        job = Job(bench.work, 1, (100, 1000), 60, rate=rate)
        bench.queue.put(job)
        job.future.result(10)
    expected = job.device_seconds / (400_000 + OVERHEAD_PIXELS)
    assert bench.device.seconds_per_pixel == pytest.approx(expected)


def test_one_slow_batch_does_not_make_the_device_slow(bench: Bench) -> None:
    def slow(tasks: Sequence[Any], progress: Progress) -> Sequence[Any]:
        time.sleep(0.2)
        return tasks

    bench.put(1).future.result(10)
    best = bench.device.best_seconds_per_pixel
    assert best == pytest.approx(bench.device.seconds_per_pixel)
    job = bench.put(2, slow)
    job.future.result(10)
    slowest = job.device_seconds / OVERHEAD_PIXELS
    assert best < bench.device.best_seconds_per_pixel < slowest / 10
    assert bench.device.seconds_per_pixel > slowest / 10


def test_before_the_first_batch_the_speed_is_that_of_loading() -> None:
    device = DeviceThread(JobQueue(1), lambda: 0.25, Metrics())
    device.start()
    device.ready.result(10)
    assert device.seconds_per_pixel == 0.25


def test_an_idle_device_gives_freed_memory_back(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pieces too small to be mapped each for itself, below one that lives."""
    monkeypatch.setattr("service.engine.device._TIDY_SECONDS", 0.0)

    def leave(tasks: Sequence[Any], progress: Progress) -> Sequence[Any]:
        pieces = [bytearray(100_000) for _ in range(1000)]
        used.append(process.memory_info().rss)
        return [bytearray(100_000) for _ in tasks if pieces]

    process = psutil.Process()
    used: list[int] = []
    kept = bench.put(1, leave).future.result(10)
    end = time.monotonic() + 10
    while process.memory_info().rss > used[0] - 50_000_000 and time.monotonic() < end:
        time.sleep(0.01)
    assert process.memory_info().rss <= used[0] - 50_000_000
    assert kept
