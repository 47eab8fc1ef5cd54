from __future__ import annotations

import asyncio
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from models import Picture, Target
from models.errors import WeightsError
from service.engine import costs
from service.engine.costs import Cost, Size
from service.engine.engine import Engine
from service.engine.errors import OverloadedError, UnavailableError
from service.engine.results import Compressed
from service.engine.timings import DECODE
from service.metrics import Metrics
from tests.service.engine.scenario import scenario


def test_two_hundred_clients_that_hang_up_cost_no_device_time_and_no_room() -> None:
    large, small = (
        Picture.from_array(np.random.default_rng(1).integers(0, 255, (side, side, 3), np.uint8))
        for side in (640, 64)
    )

    async def request(engine: Engine, picture: Picture) -> None:
        with engine.admit(costs.compress(picture.pixels)):
            await engine.coder.compress(picture, Target(quality=50), profile="ms-ssim")

    async def steps(engine: Engine) -> None:
        def value(name: str) -> float | None:
            return metrics.registry.get_sample_value(f"ziggurat_{name}")

        running = asyncio.create_task(request(engine, large))
        await asyncio.sleep(0)
        while value("queue_images"):
            await asyncio.sleep(0.001)
        clients = [asyncio.create_task(request(engine, small)) for _ in range(200)]
        await asyncio.sleep(0)
        assert (value("queue_images"), value("queue_pixels")) == (200, large.pixels + 200 * small.pixels)
        for client in clients:
            client.cancel()
        await asyncio.wait(clients)
        assert not running.done()
        assert (value("queue_images"), value("queue_pixels")) == (0, large.pixels)
        await running
        await request(engine, small)
        assert (value("batch_images_count"), value("batch_images_sum")) == (2, 2)

    metrics = Metrics()
    scenario(steps, metrics)


def test_without_memory_only_the_large_picture_fails() -> None:
    """The address space of a process of its own is limited once its models are loaded."""
    code = """
import asyncio, resource, numpy as np
from pathlib import Path
from models import Picture, Target
from service.engine import costs
from service.engine.costs import Cost, Size
from service.engine.engine import Engine
from service.engine.errors import OutOfMemoryError
from service.metrics import Metrics
from service.settings import Settings

async def main():
    metrics = Metrics()
    engine = Engine(Settings(models=("ms-ssim",), threads=1, entropy_workers=0), metrics)
    await engine.start()
    small, large = (Picture.from_array(np.zeros((side, side, 3), np.uint8)) for side in (64, 2048))
    compress = lambda picture: engine.coder.compress(picture, Target(quality=50), profile="ms-ssim")
    await compress(small)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + 150_000_000,) * 2)
    work = [compress(picture) for picture in (small, large, small)]
    results = await asyncio.gather(*work, return_exceptions=True)
    print([type(result).__name__ for result in results], engine.alive)
    await engine.close()

asyncio.run(main())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)

    assert done.stdout == "['Compressed', 'OutOfMemoryError', 'Compressed'] True\n", done.stderr


def test_the_refused_are_told_how_long_the_device_needs(photo: Image.Image) -> None:
    async def steps(engine: Engine) -> None:
        await engine.coder.compress(Picture.from_image(photo), Target(quality=50), profile="ms-ssim")
        waits = []
        more = Cost(1, Size.SMALL, 1, effort=10)
        for waiting in (1, 1e10):
            with engine.admit(Cost(1, Size.SMALL, 1, effort=waiting)):
                with pytest.raises(OverloadedError) as caught, engine.admit(more):
                    pass
                waits.append(caught.value.retry_after)
        assert waits == [1, 60], "within reason"

    scenario(steps, max_queued_pixels=10)


def test_closing_finishes_what_was_accepted_and_refuses_the_rest(photo: Image.Image) -> None:
    picture = Picture.from_image(photo)

    async def steps(engine: Engine) -> None:
        async def request() -> Compressed:
            with engine.admit(costs.compress(picture.pixels)):
                return await engine.coder.compress(picture, Target(bpp=1), profile="ms-ssim")

        accepted = [asyncio.create_task(request()) for _ in range(4)]
        await asyncio.sleep(0)
        closing = asyncio.create_task(engine.close())
        await asyncio.sleep(0)
        assert not engine.ready
        with pytest.raises(UnavailableError), engine.admit(costs.enhance(1)):
            pass
        assert len(await asyncio.gather(*accepted)) == 4
        await closing
        assert not engine.alive

    scenario(steps)


def test_closing_waits_for_requests_that_are_not_yet_at_the_device(photo: Image.Image) -> None:
    async def request(engine: Engine) -> int:
        with engine.admit(costs.compress(photo.width * photo.height)):
            picture = await engine.stages.on_thread(DECODE, None, Picture.from_image, photo)
            return (await engine.coder.compress(picture, Target(quality=50), profile="ms-ssim")).stream.width

    async def steps(engine: Engine) -> None:
        answer = asyncio.create_task(request(engine))
        await asyncio.sleep(0)
        await engine.close()
        assert await answer == photo.width

    scenario(steps)


def test_a_model_that_does_not_exist_stops_the_start() -> None:
    async def nothing(engine: Engine) -> None:
        pytest.fail("it started")

    with pytest.raises(WeightsError):
        scenario(nothing, models="vmaf", profile="vmaf")
