"""Places off the event loop, with jobs in the place of networks."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Awaitable, Callable, Sequence

import pytest

from service.engine.errors import OutOfMemoryError
from service.engine.queue import Job
from service.engine.stages import Stages
from service.engine.timings import DECODE, ENCODE, Timings
from service.metrics import Metrics
from service.settings import Settings


def run(steps: Callable[[Stages], Awaitable[None]]) -> Metrics:
    metrics = Metrics()
    settings = Settings(threads=1, image_workers=1, entropy_workers=0)

    async def main() -> None:
        stages = Stages(settings, metrics, lambda: 0.0)
        await stages.start([])
        try:
            await steps(stages)
        finally:
            await stages.close(patience=10)

    asyncio.run(main())
    return metrics


def counted(metrics: Metrics, stage: str) -> tuple[float | None, float | None]:
    """Number and sum of the durations of a stage."""
    value = metrics.registry.get_sample_value
    name = "ziggurat_stage_duration_seconds"
    return value(f"{name}_count", {"stage": stage}), value(f"{name}_sum", {"stage": stage})


def test_each_place_runs_its_work_and_counts_it_once() -> None:
    timings = Timings()

    def name_of_thread(tasks: Sequence[int] = ()) -> list[str]:
        return [threading.current_thread().name] * max(len(tasks), 1)

    async def steps(stages: Stages) -> None:
        (thread,) = await stages.on_thread(DECODE, timings, name_of_thread)
        (coder,) = await stages.in_entropy_coder(timings, name_of_thread)
        device = await stages.on_device(Job(lambda tasks, _: name_of_thread(tasks), 1, (1, 1), 1), timings)
        with stages.in_store(timings):
            await asyncio.sleep(0)
        assert [name.partition("-")[0].partition("_")[0] for name in (thread, coder, device)] == [
            "quick",
            "entropy",
            "device",
        ]
        assert await stages.in_image_worker(ENCODE, timings, 1, os.getpid) != os.getpid()

    metrics = run(steps)

    assert list(timings.seconds) == ["decode", "entropy", "queue", "device", "store", "encode"]
    assert [counted(metrics, stage)[0] for stage in ("decode", "entropy", "queue", "store", "encode")] == [
        1
    ] * 5


def test_work_without_an_account_is_counted_for_prometheus_alone() -> None:
    async def steps(stages: Stages) -> None:
        await stages.on_thread(DECODE, None, abs, -1)
        await stages.in_entropy_coder(None, abs, -1)
        await stages.on_device(Job(lambda tasks, _: tasks, 1, (1, 1), 1), None)

    metrics = run(steps)

    assert [counted(metrics, stage)[0] for stage in ("decode", "entropy", "queue")] == [1, 1, 1]


def test_waiting_for_a_worker_counts_for_the_request_and_not_for_prometheus() -> None:
    timings = Timings()

    async def steps(stages: Stages) -> None:
        busy = asyncio.create_task(stages.in_image_worker(DECODE, None, 0, time.sleep, 0.2))
        await asyncio.sleep(0)
        await stages.in_image_worker(DECODE, timings, 0, abs, -1)
        await busy

    count, seconds = counted(run(steps), "decode")

    assert timings.seconds["decode"] > 0.15
    assert count == 2
    assert seconds is not None
    assert 0.2 <= seconds < 0.35


def test_a_lack_of_memory_is_a_typed_error_everywhere() -> None:
    def fail(tasks: Sequence[int] = ()) -> list[int]:
        raise MemoryError

    async def steps(stages: Stages) -> None:
        with pytest.raises(OutOfMemoryError):
            await stages.on_thread(DECODE, None, fail)
        with pytest.raises(OutOfMemoryError):
            await stages.in_image_worker(ENCODE, None, 0, bytearray, 2**50)
        with pytest.raises(OutOfMemoryError):
            await stages.in_entropy_coder(None, fail)
        with pytest.raises(OutOfMemoryError):
            await stages.on_device(Job(lambda tasks, _: fail(tasks), 1, (1, 1), 1), None)

    assert counted(run(steps), "decode")[0] == 1, "what fails is counted too"


def test_a_job_that_nobody_waits_for_leaves_the_queue() -> None:
    gate = threading.Event()

    def hold(tasks: Sequence[int]) -> Sequence[int]:
        assert gate.wait(10)
        return tasks

    async def steps(stages: Stages) -> None:
        running = asyncio.create_task(stages.on_device(Job(lambda tasks, _: hold(tasks), 1, (1, 1), 1), None))
        await asyncio.sleep(0)
        while len(stages.queue):
            await asyncio.sleep(0.001)
        waiting = asyncio.create_task(stages.on_device(Job(lambda tasks, _: hold(tasks), 2, (1, 1), 1), None))
        await asyncio.sleep(0)
        assert len(stages.queue) == 1
        waiting.cancel()
        await asyncio.wait([waiting])
        assert len(stages.queue) == 0
        gate.set()
        assert await running == 1

    run(steps)
