from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from models.errors import DamagedStreamError
from service.engine.device import DeviceError, DeviceThread
from service.engine.errors import UnavailableError
from service.engine.queue import Job, JobQueue
from service.metrics import Metrics


class Panic(BaseException):
    """What a Rust library raises: not an Exception."""


class Bench:
    """A device thread with a gate in its work, so that a test can pile up a batch behind it."""

    def __init__(self) -> None:
        self.queue = JobQueue(max_batch_pixels=1000)
        self.metrics = Metrics()
        self.device = DeviceThread(self.queue, lambda: None, self.metrics)
        self.batches: list[list[Any]] = []
        self.gate = threading.Event()

    def work(self, tasks: Sequence[Any]) -> Sequence[Any]:
        self.batches.append(list(tasks))
        if "gate" in tasks:
            assert self.gate.wait(10)
        for task in tasks:
            if isinstance(task, BaseException):
                raise task
        return [f"done {task}" for task in tasks]

    def put(self, task: Any, work: Callable[[Sequence[Any]], Sequence[Any]] | None = None) -> Job:
        job = Job(work or self.work, task, 1, deadline=time.monotonic() + 60)
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


def pile_up(bench: Bench, tasks: Sequence[Any]) -> list[Job]:
    """Jobs that the device finds together when it is free again."""
    bench.put("gate")
    while not bench.batches:
        time.sleep(0.001)
    jobs = [bench.put(task) for task in tasks]
    bench.gate.set()
    return jobs


def test_what_waits_together_runs_together(bench: Bench) -> None:
    jobs = pile_up(bench, [1, 2, 3])

    assert [job.future.result(10) for job in jobs] == ["done 1", "done 2", "done 3"]
    assert bench.batches == [["gate"], [1, 2, 3]]


@pytest.mark.parametrize("fault", [RuntimeError("out of memory"), Panic("index out of bounds")])
def test_only_the_offender_of_a_batch_fails(bench: Bench, fault: BaseException) -> None:
    before, offender, after = pile_up(bench, [1, fault, 3])

    assert before.future.result(10) == "done 1"
    assert after.future.result(10) == "done 3"
    with pytest.raises(DeviceError) as caught:
        offender.future.result(10)
    assert caught.value.__cause__ is fault
    assert bench.put(4).future.result(10) == "done 4", "the thread lives on"


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
        bench.put(1, lambda tasks: []).future.result(10)
    assert bench.put(2).future.result(10) == "done 2"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_dying_thread_leaves_nobody_waiting(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(stage: str, seconds: float) -> None:
        if stage == "device":
            raise RuntimeError("a fault of ours")

    monkeypatch.setattr(bench.metrics, "stage", fail)
    last = bench.put("gate")
    while not bench.batches:
        time.sleep(0.001)
    waiting = [bench.put(number) for number in range(3)]
    bench.gate.set()

    with pytest.raises(DeviceError):
        last.future.result(10)
    for job in waiting:
        with pytest.raises(UnavailableError):
            job.future.result(10)
    bench.device.join(10)
    assert bench.device.silence == float("inf")
    with pytest.raises(UnavailableError):
        bench.put(4)


def test_what_fails_while_loading_is_told() -> None:
    def fail() -> None:
        raise RuntimeError("no weights")

    device = DeviceThread(JobQueue(1), fail, Metrics())
    device.start()

    with pytest.raises(RuntimeError, match="no weights"):
        device.ready.result(10)
