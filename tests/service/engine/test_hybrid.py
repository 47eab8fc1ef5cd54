"""The hybrid stage: effort that does not fit the time is lowered before it is begun, and not after."""

from __future__ import annotations

import asyncio
import math
import time

import pytest
from PIL import Image

from models import Picture, Target
from models.hybrid.codec import HybridCodec
from service.engine.hybrid import HybridStage, both
from service.engine.work import QuantiseTask
from service.metrics import Metrics


@pytest.mark.parametrize(("seconds", "reached"), [(math.inf, 2), (0.0, 0)])
def test_effort_fits_the_time_that_there_is(photo: Image.Image, seconds: float, reached: int) -> None:
    metrics = Metrics()
    stage = HybridStage(1, metrics)
    task = QuantiseTask(Picture.from_image(photo), None, Target(bpp=1))
    until = time.monotonic() + seconds
    stream, effort = asyncio.run(stage.compress(HybridCodec(), task, "psnr", effort=2, until=until))
    stage.close()
    assert effort == reached
    assert stream.target_met or stream.probes == 1
    assert metrics.registry.get_sample_value("ziggurat_stage_duration_seconds_count", {"stage": "encode"}) == 1


def test_both_or_neither() -> None:
    given_up = asyncio.Event()

    async def fail() -> int:
        raise KeyError

    async def wait() -> int:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            given_up.set()
            raise
        return 1

    async def steps() -> None:
        with pytest.raises(KeyError):
            await both(fail(), wait())
        await asyncio.sleep(0)
        assert given_up.is_set()

    asyncio.run(steps())
