"""Stages: run in one place, recorded once for Prometheus and once for the request."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from service.engine.errors import OutOfMemoryError
from service.engine.stages import Stages
from service.metrics import Metrics


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1, thread_name_prefix="image") as pool:
        yield pool


def counted(metrics: Metrics, stage: str) -> float:
    name = "ziggurat_stage_duration_seconds"
    return metrics.registry.get_sample_value(f"{name}_count", {"stage": stage}) or 0


def test_a_stage_runs_on_an_image_thread_and_is_recorded_once(threads: ThreadPoolExecutor) -> None:
    metrics = Metrics()
    stages = Stages(metrics, threads)

    name = asyncio.run(stages.on_image_thread("decode", lambda: threading.current_thread().name))

    assert name.startswith("image")
    assert list(stages.seconds) == ["decode"]
    assert counted(metrics, "decode") == 1


def test_waiting_for_a_thread_counts_for_the_request_and_not_for_prometheus(threads: ThreadPoolExecutor) -> None:
    metrics = Metrics()
    stages = Stages(metrics, threads)

    async def steps() -> None:
        threads.submit(time.sleep, 0.2)
        await stages.on_image_thread("encode", lambda: None)

    asyncio.run(steps())

    assert stages.seconds["encode"] > 0.15
    assert (metrics.registry.get_sample_value("ziggurat_stage_duration_seconds_sum", {"stage": "encode"}) or 0) < 0.15


def test_names_for_the_request_may_differ_and_some_stages_are_not_told(threads: ThreadPoolExecutor) -> None:
    metrics = Metrics()
    stages = Stages(metrics, threads)

    async def steps() -> None:
        await stages.untold("header", lambda: None)
        await stages.on_image_thread_as("finish", "decode", lambda: None)

    asyncio.run(steps())

    assert list(stages.seconds) == ["finish"]
    assert counted(metrics, "header") == counted(metrics, "decode") == 1


def test_the_engines_stages_add_up_in_their_place(threads: ThreadPoolExecutor) -> None:
    stages = Stages(Metrics(), threads)
    stages.begin_engine()
    stages.add("avif", 1.0)
    stages.add("device", 2.0)
    stages.begin_engine()
    stages.add("device", 0.5)
    assert stages.seconds == {"queue": 0.0, "device": 2.5, "entropy": 0.0, "avif": 1.0}


def test_what_fails_is_recorded_too(threads: ThreadPoolExecutor) -> None:
    metrics = Metrics()
    stages = Stages(metrics, threads)

    def fail() -> None:
        raise KeyError

    with pytest.raises(KeyError), stages.store():
        fail()
    with pytest.raises(KeyError):
        asyncio.run(stages.on_image_thread("decode", fail))

    assert list(stages.seconds) == ["store", "decode"]
    assert counted(metrics, "store") == counted(metrics, "decode") == 1


def test_a_lack_of_memory_has_an_answer(threads: ThreadPoolExecutor) -> None:
    def fail() -> None:
        raise MemoryError

    with pytest.raises(OutOfMemoryError):
        asyncio.run(Stages(Metrics(), threads).untold("decode", fail))
