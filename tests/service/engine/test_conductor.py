"""Conductor: every request comes back to its owner, costs what it must, and fails alone."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from models import Picture, Target
from models.bitstream import Bitstream
from models.errors import DamagedStreamError, UnknownModelError
from service.engine.engine import Engine
from service.engine.errors import DeadlineExceededError, UnknownProfileError
from service.engine.results import Measure
from service.metrics import Metrics
from tests.service.engine.scenario import scenario


def test_many_pictures_at_once_come_back_each_to_its_owner(photo: Image.Image) -> None:
    pictures = [Picture.from_image(photo.crop((0, 0, 40 + 8 * number, 64))) for number in range(6)]

    async def steps(engine: Engine) -> None:
        made = await asyncio.gather(*(engine.compress(picture, Target(quality=50), profile="ms-ssim") for picture in pictures))
        assert [one.stream.width for one in made] == [picture.width for picture in pictures]
        back = await asyncio.gather(*(engine.decompress(Bitstream.parse(one.stream.data)) for one in made))
        assert [(one.picture.width, one.picture.height) for one in back] == [(picture.width, picture.height) for picture in pictures]

    metrics = scenario(steps)

    assert metrics.registry.get_sample_value("ziggurat_pixels_total", {"direction": "compress"}) == sum(one.pixels for one in pictures)
    assert metrics.registry.get_sample_value("ziggurat_queue_images") == 0
    batches = metrics.registry.get_sample_value("ziggurat_batch_images_count")
    assert batches is not None
    assert batches < 12, "what waited together went together"


def test_what_worker_processes_code_is_measured_and_exact(photo: Image.Image) -> None:
    picture = Picture.from_image(photo)

    async def steps(engine: Engine) -> None:
        writing = engine.stages()
        reading = engine.stages()
        made = await engine.compress(picture, Target(bpp=1), profile="ms-ssim", report=frozenset(Measure), stages=writing)
        back = await engine.decompress(Bitstream.parse(made.stream.data), stages=reading)
        assert writing.seconds["entropy"] > 0
        assert reading.seconds["entropy"] > 0
        error = back.picture.rgb.astype(float) - picture.rgb
        assert 10 * np.log10(255**2 / np.square(error).mean()) == pytest.approx(made.report[Measure.PSNR], abs=1e-3)

    metrics = scenario(steps, entropy_workers=1)

    for direction in ("compress", "decompress"):
        symbols = metrics.registry.get_sample_value("ziggurat_entropy_symbols_total", {"direction": direction})
        assert symbols == metrics.registry.get_sample_value("ziggurat_entropy_symbols_total", {"direction": "compress"})
        assert symbols
    assert metrics.registry.get_sample_value("ziggurat_stage_duration_seconds_count", {"stage": "entropy"}) == 3
    assert metrics.registry.get_sample_value("ziggurat_stage_duration_seconds_count", {"stage": "rate_control"}) == 1


def test_a_damaged_stream_costs_the_device_nothing(photo: Image.Image) -> None:
    async def steps(engine: Engine) -> None:
        made = await engine.compress(Picture.from_image(photo), Target(bpp=1), profile="ms-ssim")
        stream = Bitstream.parse(made.stream.data)
        with pytest.raises(DamagedStreamError):
            await engine.decompress(replace(stream, y=stream.y + bytes(range(8))))

    assert scenario(steps).registry.get_sample_value("ziggurat_batch_images_sum") == 1


def test_two_hundred_clients_that_hang_up_cost_no_device_time_and_no_room() -> None:
    large, small = (Picture.from_array(np.random.default_rng(1).integers(0, 255, (side, side, 3), np.uint8)) for side in (640, 64))

    async def request(engine: Engine, picture: Picture) -> None:
        async with engine.admit(picture.pixels) as deadline:
            await engine.compress(picture, Target(quality=50), profile="ms-ssim", deadline=deadline)

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
from service.engine.engine import Engine
from service.engine.errors import OutOfMemoryError
from service.metrics import Metrics
from service.settings import Settings

async def main():
    metrics = Metrics()
    engine = Engine(Settings(models=("ms-ssim",), threads=1, entropy_workers=0), metrics)
    await engine.start()
    small, large = (Picture.from_array(np.zeros((side, side, 3), np.uint8)) for side in (64, 2048))
    compress = lambda picture: engine.compress(picture, Target(quality=50), profile="ms-ssim")
    await compress(small)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + 150_000_000,) * 2)
    results = await asyncio.gather(*(compress(picture) for picture in (small, large, small)), return_exceptions=True)
    print([type(result).__name__ for result in results], engine.alive)
    await engine.close()

asyncio.run(main())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)

    assert done.stdout == "['Compressed', 'OutOfMemoryError', 'Compressed'] True\n", done.stderr


def test_reports_measure_the_decoded_picture(photo: Image.Image) -> None:
    picture = Picture.from_image(photo)

    async def steps(engine: Engine) -> None:
        low = await engine.compress(picture, Target(quality=10), profile="ms-ssim", report=frozenset(Measure))
        high = await engine.compress(picture, Target(quality=90), profile="ms-ssim", report=frozenset(Measure))
        none = await engine.compress(picture, Target(quality=90), profile="ms-ssim")
        assert 10 < low.report[Measure.PSNR] < high.report[Measure.PSNR] < 60
        assert 0 < low.report[Measure.MS_SSIM] < high.report[Measure.MS_SSIM] < 1
        assert none.report == {}

    scenario(steps)


def test_every_request_says_where_its_time_went(photo: Image.Image) -> None:
    async def steps(engine: Engine) -> None:
        picture = Picture.from_image(photo)
        begun = time.monotonic()
        first, second = engine.stages(), engine.stages()
        await asyncio.gather(
            engine.compress(picture, Target(quality=50), profile="ms-ssim", stages=first),
            engine.compress(picture, Target(quality=50), profile="psnr", stages=second),
        )
        elapsed = time.monotonic() - begun
        assert 0 < first.seconds["device"] < elapsed
        assert first.seconds["device"] < second.seconds["queue"] < elapsed, "it waited while the first was on the device"

    scenario(steps, models="ms-ssim,psnr")


def test_unknown_names_are_refused(photo: Image.Image) -> None:
    async def steps(engine: Engine) -> None:
        with pytest.raises(UnknownProfileError, match="ms-ssim"):
            await engine.compress(Picture.from_image(photo), Target(bpp=1), profile="psnr")
        with pytest.raises(UnknownModelError, match="00000000"):
            engine.models.profile_of("00000000")
        assert engine.models.profile_of(engine.models.codecs["ms-ssim"].model_id) == "ms-ssim"

    scenario(steps)


def test_avif_keeps_neither_the_event_loop_nor_headers_waiting() -> None:
    """A search among AVIF files of a megapixel takes seconds; meanwhile the loop turns, and image threads are free."""
    noise = np.random.default_rng(1).integers(0, 256, (64, 64, 3), np.uint8)
    picture = Picture.from_array(np.asarray(Image.fromarray(noise).resize((512, 512))))

    async def steps(engine: Engine) -> None:
        busy = [asyncio.create_task(engine.compress(picture, Target(bpp=0.5), profile="ms-ssim", codec="hybrid")) for _ in range(3)]
        turns = 0
        while not any(one.done() for one in busy):
            assert await engine.stages().untold("header", lambda: 1) == 1
            turns += 1
            await asyncio.sleep(0.005)
        assert turns > 10
        assert len({(await one).stream.data for one in busy}) == 1

    metrics = scenario(steps, image_threads=1)
    assert metrics.registry.get_sample_value("ziggurat_streams_total", {"codec": "hybrid"}) == 3
    assert metrics.registry.get_sample_value("ziggurat_batch_images_count") == 0, "the device had nothing to do"


def test_a_client_that_hangs_up_ends_its_search() -> None:
    noise = np.random.default_rng(2).integers(0, 256, (64, 64, 3), np.uint8)
    picture = Picture.from_array(np.asarray(Image.fromarray(noise).resize((512, 512))))

    async def steps(engine: Engine) -> None:
        for codec in ("hybrid", "auto"):
            task = asyncio.create_task(engine.compress(picture, Target(max_bytes=8_000), profile="ms-ssim", codec=codec))
            await asyncio.sleep(0.1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        await engine.compress(Picture.from_image(Image.new("RGB", (64, 64))), Target(quality=1), profile="ms-ssim", codec="hybrid")

    metrics = scenario(steps, image_threads=1)
    assert metrics.registry.get_sample_value("ziggurat_streams_total", {"codec": "hybrid"}) == 1
    assert metrics.registry.get_sample_value("ziggurat_streams_total", {"codec": "learned"}) == 0


def test_auto_fails_as_one(photo: Image.Image) -> None:
    async def steps(engine: Engine) -> None:
        late = time.monotonic() - 1
        with pytest.raises(DeadlineExceededError):
            await engine.compress(Picture.from_image(photo), Target(bpp=1), profile="ms-ssim", codec="auto", deadline=late)

    scenario(steps)
