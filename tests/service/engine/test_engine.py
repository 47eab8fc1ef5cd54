"""Engine: it starts with its models, and leaves when what was accepted is done."""

from __future__ import annotations

import asyncio

import pytest
from PIL import Image

from models import Picture, Target
from models.errors import WeightsError
from service.engine.engine import Engine
from service.engine.errors import UnavailableError
from service.engine.results import Compressed
from tests.service.engine.scenario import scenario


def test_closing_finishes_what_was_accepted_and_refuses_the_rest(photo: Image.Image) -> None:
    picture = Picture.from_image(photo)

    async def steps(engine: Engine) -> None:
        async def one() -> Compressed:
            async with engine.admit(picture.pixels):
                return await engine.compress(picture, Target(bpp=1), profile="ms-ssim")

        accepted = [asyncio.create_task(one()) for _ in range(4)]
        await asyncio.sleep(0)
        closing = asyncio.create_task(engine.close())
        await asyncio.sleep(0)
        assert not engine.ready
        with pytest.raises(UnavailableError):
            async with engine.admit(1):
                pass
        assert len(await asyncio.gather(*accepted)) == 4
        await closing
        assert not engine.alive

    scenario(steps)


def test_closing_waits_for_requests_that_are_not_yet_at_the_device(photo: Image.Image) -> None:
    async def request(engine: Engine) -> int:
        async with engine.admit(photo.width * photo.height):
            picture = await engine.stages().on_image_thread("decode", Picture.from_image, photo)
            return (await engine.compress(picture, Target(quality=50), profile="ms-ssim")).stream.width

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
