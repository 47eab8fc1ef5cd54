"""Admission: by requests and pixels, with a way out for one giant, and not for ever."""

from __future__ import annotations

import asyncio

import pytest
from PIL import Image

from models import Picture, Target
from service.engine.engine import Engine
from service.engine.errors import DeadlineExceededError, OverloadedError
from tests.service.engine.scenario import scenario


def test_admission_is_by_pixels_and_lets_one_giant_in() -> None:
    async def steps(engine: Engine) -> None:
        async with engine.admit(5000):
            with pytest.raises(OverloadedError) as caught:
                async with engine.admit(1):
                    pass
            assert 1 <= caught.value.retry_after <= 60
        async with engine.admit(600), engine.admit(400):
            with pytest.raises(OverloadedError):
                async with engine.admit(1):
                    pass
        async with engine.admit(1):
            pass

    metrics = scenario(steps, max_queued_pixels=1000)

    assert metrics.registry.get_sample_value("ziggurat_queue_pixels") == 0


def test_admission_is_by_requests_too() -> None:
    async def steps(engine: Engine) -> None:
        async with engine.admit(1), engine.admit(1):
            with pytest.raises(OverloadedError, match="2 requests"):
                async with engine.admit(1):
                    pass
        async with engine.admit(1):
            pass

    scenario(steps, max_queued_requests=2)


def test_the_refused_are_told_how_long_the_device_needs(photo: Image.Image) -> None:
    async def steps(engine: Engine) -> None:
        await engine.compress(Picture.from_image(photo), Target(quality=50), profile="ms-ssim")
        waits = []
        for waiting in (1, 10**9):
            async with engine.admit(waiting):
                with pytest.raises(OverloadedError) as caught:
                    async with engine.admit(10**10):
                        pass
                waits.append(caught.value.retry_after)
        assert waits == [1, 60], "within reason"

    scenario(steps, max_queued_pixels=10**9)


def test_a_request_may_not_take_for_ever() -> None:
    async def steps(engine: Engine) -> None:
        with pytest.raises(DeadlineExceededError):
            async with engine.admit(1):
                await asyncio.sleep(10)
        with pytest.raises(TimeoutError, match="another's"):
            async with engine.admit(1):
                raise TimeoutError("another's")

    scenario(steps, request_timeout_seconds=0.02)
