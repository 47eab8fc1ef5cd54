from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace

import psutil
import pytest
from PIL import Image

from models import Picture, Target
from models.bitstream import Bitstream
from models.errors import DamagedStreamError, WeightsError
from models.learned.codec import LearnedCodec
from models.weights import registry
from service.engine import entropy_worker
from service.engine.costs import LARGE_PIXELS
from service.engine.entropy import EntropyStage, default_workers
from service.engine.errors import UnavailableError
from service.engine.timings import StageTimer
from service.metrics import Metrics


def scenario(steps: Callable[[EntropyStage], Awaitable[None]], *, workers: int) -> Metrics:
    metrics = Metrics()

    async def run() -> None:
        stage = EntropyStage(workers, metrics, StageTimer(metrics))
        await stage.start([registry.DEFAULT])
        try:
            await steps(stage)
        finally:
            stage.close()

    asyncio.run(run())
    return metrics


@pytest.mark.parametrize("workers", [0, 1])
def test_streams_are_the_same_wherever_they_are_coded(
    workers: int, codec: LearnedCodec, photo: Image.Image
) -> None:
    picture = Picture.from_image(photo)
    target = Target(bpp=0.5)
    quantised = codec.quantise([picture], [target])[0]
    expected = codec.encode([picture], [target])[0]

    async def steps(stage: EntropyStage) -> None:
        stream = await stage.run(None, entropy_worker.write, codec.name, quantised)
        assert stream == expected
        parsed = Bitstream.parse(stream.data)
        symbols = await stage.run(None, entropy_worker.read, codec.name, parsed)
        assert (symbols.residuals == quantised.symbols.residuals).all()
        with pytest.raises(DamagedStreamError):
            await stage.run(
                None, entropy_worker.read, codec.name, replace(parsed, y=parsed.y + bytes(range(8)))
            )
        assert (await stage.run(None, os.getpid) == os.getpid()) == (workers == 0)

    metrics = scenario(steps, workers=workers)

    assert (
        metrics.registry.get_sample_value("ziggurat_stage_duration_seconds_count", {"stage": "entropy"}) == 4
    )


def test_a_worker_that_dies_is_replaced_its_work_done_again_and_nothing_else_disturbed() -> None:
    async def steps(stage: EntropyStage) -> None:
        neighbour = asyncio.create_task(stage.run(None, time.sleep, 2))
        await asyncio.sleep(0)
        victim = await stage.run(None, os.getpid)
        job = asyncio.create_task(stage.run(None, time.sleep, 0.3))
        await asyncio.sleep(0.1)
        os.kill(victim, signal.SIGKILL)
        await job
        assert await stage.run(None, os.getpid) != victim
        await neighbour

    metrics = scenario(steps, workers=2)

    assert metrics.registry.get_sample_value("ziggurat_entropy_worker_restarts_total") == 1


def test_work_that_kills_every_worker_is_given_up_and_the_stage_lives_on() -> None:
    async def steps(stage: EntropyStage) -> None:
        with pytest.raises(UnavailableError):
            await stage.run(None, os._exit, 1)
        assert await stage.run(None, abs, -1) == 1

    metrics = scenario(steps, workers=1)

    assert metrics.registry.get_sample_value("ziggurat_entropy_worker_restarts_total") == 3


def test_workers_leave_stopping_to_the_parent() -> None:
    """Ctrl-C in a terminal and a service manager's SIGTERM reach all processes; accepted work is
    finished all the same."""

    async def steps(stage: EntropyStage) -> None:
        worker = await stage.run(None, os.getpid)
        for number in (signal.SIGINT, signal.SIGTERM):
            os.kill(worker, number)
            assert await stage.run(None, os.getpid) == worker

    scenario(steps, workers=1)


def test_no_worker_outlives_a_parent_that_was_killed() -> None:
    parent_code = """
import asyncio, os, time
from service.engine.costs import LARGE_PIXELS
from service.engine.entropy import EntropyStage
from service.engine.timings import StageTimer
from service.metrics import Metrics

async def main():
    metrics = Metrics()
    stage = EntropyStage(2, metrics, StageTimer(metrics))
    await stage.start([])
    print(os.getpid(), flush=True)
    time.sleep(600)

asyncio.run(main())
"""
    with subprocess.Popen([sys.executable, "-c", parent_code], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout
        assert parent.stdout.readline()
        children = psutil.Process(parent.pid).children(recursive=True)
        parent.kill()
    gone, alive = psutil.wait_procs(children, timeout=30)

    assert len(gone) >= 2
    assert all(child.status() == psutil.STATUS_ZOMBIE for child in alive)


def test_a_model_that_cannot_be_loaded_stops_the_start() -> None:
    async def start() -> None:
        metrics = Metrics()
        stage = EntropyStage(1, metrics, StageTimer(metrics))
        try:
            await stage.start(["vmaf"])
        finally:
            stage.close()

    with pytest.raises(WeightsError):
        asyncio.run(start())


@pytest.mark.parametrize(
    ("cores", "cpu", "cuda"), [(1, 0, 0), (2, 0, 0), (4, 1, 2), (16, 4, 14), (96, 16, 16)]
)
def test_a_gpu_leaves_cores_to_the_coder(
    cores: int, cpu: int, cuda: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.machine.cores", lambda: cores + 0.5)

    assert (default_workers("cpu"), default_workers("cuda:1")) == (cpu, cuda)


@pytest.mark.parametrize("workers", [0, 1])
def test_what_nobody_waits_for_ends_and_its_worker_works_on(workers: int) -> None:
    """The job would take minutes, and its worker is the only one."""

    async def steps(stage: EntropyStage) -> None:
        job = asyncio.create_task(stage.run(None, pause_for, 300.0))
        await asyncio.sleep(0.1)
        job.cancel()
        async with asyncio.timeout(30):
            await asyncio.wait([job])
            assert await stage.run(None, abs, -1) == 1

    scenario(steps, workers=workers)


def pause_for(seconds: float) -> None:
    """Code for so long."""
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        entropy_worker._progress().pause()
        time.sleep(0.001)


@pytest.mark.parametrize("workers", [0, 1])
def test_small_pictures_do_not_wait_for_large_ones(workers: int) -> None:
    async def steps(stage: EntropyStage) -> None:
        large = asyncio.create_task(stage.run(None, pause_for, 300.0, pixels=LARGE_PIXELS + 1))
        await asyncio.sleep(0.1)
        async with asyncio.timeout(30):
            assert await stage.run(None, abs, -1, pixels=LARGE_PIXELS) == 1
        assert not large.done()
        large.cancel()
        await asyncio.wait([large])

    scenario(steps, workers=workers)
