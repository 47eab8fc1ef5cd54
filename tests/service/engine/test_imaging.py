from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

from models import Picture
from service import images
from service.engine.costs import LARGE_PIXELS
from service.engine.errors import TooCostlyFileError, WorkerDiedError
from service.engine.image_worker import Job, Limits
from service.engine.imaging import WorkerPool, limits
from service.metrics import Metrics

ENDLESS = range(10**12)  # to sum it holds the interpreter's lock, as a decoder in C can


def scenario(steps: Callable[[WorkerPool], Awaitable[None]], *, workers: int = 1) -> float | None:
    """Run steps with a pool; returns the number of workers that were replaced."""
    metrics = Metrics()

    async def run() -> None:
        pool = WorkerPool(workers, metrics)
        try:
            await steps(pool)
        finally:
            pool.close()

    asyncio.run(run())
    return metrics.registry.get_sample_value("ziggurat_image_worker_restarts_total")


def job(function: Callable[..., object], *args: object, cpu: float = 60, memory: int | None = None) -> Job:
    return Job(function, args, {}, Limits(cpu, memory))


def test_pictures_come_back_as_they_are(photo: Image.Image) -> None:
    picture = Picture.from_image(photo)
    file = images.encode(picture, images.ImageFormat.PNG)

    async def steps(pool: WorkerPool) -> None:
        reading = Job(images.decode, (file,), {"max_pixels": picture.pixels}, limits(picture.pixels))
        decoded = await pool.run(reading, pixels=picture.pixels)
        np.testing.assert_array_equal(decoded.picture.rgb, picture.rgb)
        with pytest.raises(images.DamagedImageError, match="truncated"):
            await pool.run(reading._replace(args=(file[:-900],)), pixels=picture.pixels)
        assert await pool.run(job(os.getpid), pixels=0) != os.getpid()

    assert scenario(steps) == 0


def test_a_job_beyond_its_processor_time_is_refused_and_the_next_is_done() -> None:
    async def steps(pool: WorkerPool) -> None:
        with pytest.raises(TooCostlyFileError, match="0 seconds of processor time"):
            await pool.run(job(sum, ENDLESS, cpu=0.1), pixels=0)
        assert await pool.run(job(abs, -1), pixels=0) == 1

    assert scenario(steps) == 1


def test_a_job_beyond_its_memory_fails_alone() -> None:
    async def steps(pool: WorkerPool) -> None:
        with pytest.raises(MemoryError):
            await pool.run(job(bytearray, 2**30, memory=2**28), pixels=0)
        assert await pool.run(job(len, bytes(2**20), memory=2**28), pixels=0) == 2**20
        assert len(await pool.run(job(bytes, 2**28), pixels=0)) == 2**28, "the limit was the first job's"

    assert scenario(steps) == 0


def test_a_crash_takes_nothing_with_it_but_its_job() -> None:
    async def steps(pool: WorkerPool) -> None:
        other = asyncio.create_task(pool.run(job(time.sleep, 0.2), pixels=0))
        with pytest.raises(WorkerDiedError):
            await pool.run(job(ctypes.string_at, 0), pixels=0)  # a segmentation fault
        await other
        assert await asyncio.gather(*(pool.run(job(abs, -1), pixels=0) for _ in range(4))) == [1] * 4

    assert scenario(steps, workers=2) == 1


def test_a_job_that_nobody_waits_for_ends() -> None:
    async def steps(pool: WorkerPool) -> None:
        worker = await pool.run(job(os.getpid), pixels=0)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await pool.run(job(sum, ENDLESS), pixels=0)
        assert await pool.run(job(os.getpid), pixels=0) != worker
        assert not psutil.pid_exists(worker)

    assert scenario(steps) == 1


def test_a_job_that_is_nearly_done_keeps_its_worker() -> None:
    async def steps(pool: WorkerPool) -> None:
        worker = await pool.run(job(os.getpid), pixels=0)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await pool.run(job(time.sleep, 0.1), pixels=0)
        assert await pool.run(job(os.getpid), pixels=0) == worker

    assert scenario(steps) == 0


def test_large_pictures_leave_a_worker_to_small_ones() -> None:
    async def steps(pool: WorkerPool) -> None:
        large = [
            asyncio.create_task(pool.run(job(time.sleep, 30), pixels=LARGE_PIXELS + 1)) for _ in range(3)
        ]
        await asyncio.sleep(0)
        assert await pool.run(job(abs, -1), pixels=LARGE_PIXELS) == 1
        for task in large:
            task.cancel()
        await asyncio.wait(large)

    scenario(steps, workers=2)


def test_the_memory_of_a_large_picture_is_given_back() -> None:
    async def steps(pool: WorkerPool) -> None:
        worker = await pool.run(job(os.getpid), pixels=LARGE_PIXELS + 1)
        assert not psutil.pid_exists(worker)
        assert await pool.run(job(abs, -1), pixels=0) == 1

    assert scenario(steps) == 0, "nothing went wrong"


def test_workers_leave_stopping_to_the_parent() -> None:
    async def steps(pool: WorkerPool) -> None:
        worker = await pool.run(job(os.getpid), pixels=0)
        for number in (signal.SIGINT, signal.SIGTERM):
            os.kill(worker, number)
            assert await pool.run(job(os.getpid), pixels=0) == worker

    assert scenario(steps) == 0


def test_closing_ends_whatever_runs() -> None:
    async def steps(pool: WorkerPool) -> None:
        running = asyncio.create_task(pool.run(job(sum, ENDLESS), pixels=0))
        await asyncio.sleep(0.05)
        pool.close()
        with pytest.raises(WorkerDiedError):
            await running

    scenario(steps)


@pytest.mark.parametrize("end", ["os._exit(1)", "os.kill(os.getpid(), 9)", "sys.exit()"])
def test_no_worker_outlives_its_parent_however_that_ends(end: str) -> None:
    code = f"""
import asyncio, os, sys, time
from service.engine.image_worker import Job, Limits
from service.engine.imaging import WorkerPool
from service.metrics import Metrics

async def main():
    pool = WorkerPool(1, Metrics())
    print(await pool.run(Job(os.getpid, (), {{}}, Limits()), pixels=0), flush=True)

if __name__ == "__main__":
    asyncio.run(main())
    {end}
"""
    parent = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, timeout=60)
    worker = int(parent.stdout)
    for _ in range(600):
        if not psutil.pid_exists(worker) or psutil.Process(worker).status() == psutil.STATUS_ZOMBIE:
            return
        time.sleep(0.05)
    pytest.fail("it is still there")


def test_a_program_without_a_guard_and_one_from_standard_input_start_workers(tmp_path: Path) -> None:
    code = """
import asyncio, os
from service.engine.image_worker import Job, Limits
from service.engine.imaging import WorkerPool
from service.metrics import Metrics

async def main():
    pool = WorkerPool(2, Metrics())
    await pool.start()
    pool.close()
    print("once", flush=True)

asyncio.run(main())
"""
    program = tmp_path / "program.py"
    program.write_text(code)
    for command, given in (([sys.executable, str(program)], ""), ([sys.executable, "-"], code)):
        done = subprocess.run(command, input=given, capture_output=True, text=True, timeout=60)
        assert (done.stdout, done.stderr) == ("once\n", "")
