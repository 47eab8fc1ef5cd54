from __future__ import annotations

import asyncio
import math
import time
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from models import Picture, Stream, Target
from models.hybrid.codec import HybridCodec
from service.engine.hybrid import HybridStage, both
from service.engine.timings import StageTimer, Timings
from service.engine.work import QuantiseTask
from service.metrics import Metrics


def compress(photo: Image.Image, *, effort: int, until: float) -> tuple[Stream, int, Timings, Metrics]:
    metrics = Metrics()
    timings = Timings()
    task = QuantiseTask(Picture.from_image(photo), None, Target(max_bytes=800))

    async def run() -> tuple[Stream, int]:
        stage = HybridStage(1, metrics, StageTimer(metrics))
        try:
            return await stage.compress(
                HybridCodec(), task, "psnr", effort=effort, until=until, timings=timings
            )
        finally:
            stage.close()

    stream, reached = asyncio.run(run())
    return stream, reached, timings, metrics


def test_it_compresses_as_the_codec_does_and_is_measured(photo: Image.Image) -> None:
    stream, reached, timings, metrics = compress(photo, effort=1, until=math.inf)

    assert stream == HybridCodec().encode(
        Picture.from_image(photo), Target(max_bytes=800), metric="psnr", effort=1
    )
    assert reached == 1
    assert list(timings.seconds) == ["avif"]
    assert (
        metrics.registry.get_sample_value("ziggurat_stage_duration_seconds_count", {"stage": "encode"}) == 1
    )


def test_effort_is_what_there_is_time_for(photo: Image.Image) -> None:
    stream, reached, _, _ = compress(photo, effort=9, until=time.monotonic() - 1)

    assert reached == 0
    assert len(stream.data) <= 800


def test_an_encode_ends_when_nobody_waits_for_it() -> None:
    noise = np.random.default_rng(2).integers(0, 256, (1024, 1024, 3), np.uint8)
    task = QuantiseTask(Picture.from_array(noise), None, Target(quality=90))
    metrics = Metrics()

    async def run() -> None:
        stage = HybridStage(1, metrics, StageTimer(metrics))
        search = stage.compress(HybridCodec(), task, "psnr", effort=9, until=math.inf, timings=Timings())
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):  # of minutes
                await search
        quick = replace(task, picture=Picture.from_array(noise[:64, :64]))
        await stage.compress(HybridCodec(), quick, "psnr", effort=0, until=math.inf, timings=Timings())
        stage.close()

    asyncio.run(run())
    assert metrics.registry.get_sample_value("ziggurat_image_worker_restarts_total") == 1


def test_both_fail_as_one() -> None:
    ended: list[str] = []

    async def fail() -> int:
        raise KeyError("first")

    async def wait() -> str:
        try:
            await asyncio.sleep(60)
        finally:
            ended.append("second")
        return "never"

    async def run() -> None:
        with pytest.raises(KeyError, match="first"):
            await both(fail(), wait())
        await asyncio.sleep(0)

    asyncio.run(run())
    assert ended == ["second"]
