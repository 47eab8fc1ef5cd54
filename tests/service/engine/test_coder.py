from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable
from dataclasses import replace
from typing import Any, get_args

import numpy as np
import pytest
from PIL import Image

from models import Picture, Target
from models.bitstream import Bitstream
from models.codec import CodecName
from models.errors import DamagedStreamError, UnknownModelError
from models.rate_control.quality_search import MOST_REFINED
from service.engine.engine import Engine
from service.engine.errors import DeadlineExceededError, UnknownProfileError
from service.engine.results import Measure
from service.engine.timings import READ_HEADER, Timings
from service.metrics import Stage
from tests.service.engine.scenario import scenario


def test_many_pictures_at_once_come_back_each_to_its_owner(photo: Image.Image) -> None:
    pictures = [Picture.from_image(photo.crop((0, 0, 40 + 8 * number, 64))) for number in range(6)]

    async def steps(engine: Engine) -> None:
        made = await asyncio.gather(
            *(engine.coder.compress(picture, Target(quality=50), profile="ms-ssim") for picture in pictures)
        )
        assert [compressed.stream.width for compressed in made] == [picture.width for picture in pictures]
        back = await asyncio.gather(
            *(engine.coder.decompress(Bitstream.parse(compressed.stream.data)) for compressed in made)
        )
        assert [(found.picture.width, found.picture.height) for found in back] == [
            (picture.width, picture.height) for picture in pictures
        ]

    metrics = scenario(steps)

    assert metrics.registry.get_sample_value("ziggurat_pixels_total", {"direction": "compress"}) == sum(
        picture.pixels for picture in pictures
    )
    assert metrics.registry.get_sample_value("ziggurat_queue_images") == 0
    batches = metrics.registry.get_sample_value("ziggurat_batch_images_count")
    assert batches is not None
    assert batches < 12, "what waited together went together"


def test_what_worker_processes_code_is_measured_and_exact(photo: Image.Image) -> None:
    picture = Picture.from_image(photo)

    async def steps(engine: Engine) -> None:
        writing = Timings()
        reading = Timings()
        made = await engine.coder.compress(
            picture, Target(bpp=1), profile="ms-ssim", report=frozenset(Measure), timings=writing
        )
        back = await engine.coder.decompress(Bitstream.parse(made.stream.data), timings=reading)
        assert writing.seconds["entropy"] > 0
        assert reading.seconds["entropy"] > 0
        error = back.picture.rgb.astype(float) - picture.rgb
        assert 10 * np.log10(255**2 / np.square(error).mean()) == pytest.approx(
            made.report[Measure.PSNR], abs=1e-3
        )

    metrics = scenario(steps, entropy_workers=1)

    for direction in ("compress", "decompress"):
        symbols = metrics.registry.get_sample_value(
            "ziggurat_entropy_symbols_total", {"direction": direction}
        )
        assert symbols == metrics.registry.get_sample_value(
            "ziggurat_entropy_symbols_total", {"direction": "compress"}
        )
        assert symbols
    assert (
        metrics.registry.get_sample_value("ziggurat_stage_duration_seconds_count", {"stage": "entropy"}) == 3
    )
    assert (
        metrics.registry.get_sample_value("ziggurat_stage_duration_seconds_count", {"stage": "rate_control"})
        == 1
    )


def test_a_damaged_stream_costs_the_device_nothing(photo: Image.Image) -> None:
    async def steps(engine: Engine) -> None:
        made = await engine.coder.compress(Picture.from_image(photo), Target(bpp=1), profile="ms-ssim")
        stream = Bitstream.parse(made.stream.data)
        with pytest.raises(DamagedStreamError):
            await engine.coder.decompress(replace(stream, y=stream.y + bytes(range(8))))

    assert scenario(steps).registry.get_sample_value("ziggurat_batch_images_sum") == 1


def test_reports_measure_the_decoded_picture(photo: Image.Image) -> None:
    picture = Picture.from_image(photo)

    async def steps(engine: Engine) -> None:
        low = await engine.coder.compress(
            picture, Target(quality=10), profile="ms-ssim", report=frozenset(Measure)
        )
        high = await engine.coder.compress(
            picture, Target(quality=90), profile="ms-ssim", report=frozenset(Measure)
        )
        none = await engine.coder.compress(picture, Target(quality=90), profile="ms-ssim")
        assert 10 < low.report[Measure.PSNR] < high.report[Measure.PSNR] < 60
        assert 0 < low.report[Measure.MS_SSIM] < high.report[Measure.MS_SSIM] < 1
        assert none.report == {}

    scenario(steps)


def test_every_request_learns_where_its_time_went(photo: Image.Image) -> None:
    async def steps(engine: Engine) -> None:
        picture = Picture.from_image(photo)
        accounts = {"ms-ssim": Timings(), "psnr": Timings()}
        begun = time.monotonic()
        jobs = [
            engine.coder.compress(picture, Target(quality=50), profile=name, timings=timings)
            for name, timings in accounts.items()
        ]
        await asyncio.gather(*jobs)
        elapsed = time.monotonic() - begun
        first, second = (timings.seconds for timings in accounts.values())
        assert 0 < first["device"] < elapsed
        assert first["device"] < second["queue"] < elapsed, (
            "the second waited while the first was on the device"
        )

    scenario(steps, models="ms-ssim,psnr")


@pytest.mark.parametrize(
    ("codec", "report", "names", "counts"),
    [
        ("learned", "", "queue device entropy", {"queue": 1, "device": 1, "rate_control": 1, "entropy": 1}),
        (
            "learned",
            "psnr",
            "queue device entropy",
            {"queue": 2, "device": 2, "rate_control": 1, "entropy": 2},
        ),
        ("hybrid", "", "queue device entropy avif", {"encode": 1}),
        ("hybrid", "psnr", "queue device entropy avif", {"encode": 1, "decode": 1, "queue": 1, "device": 1}),
        (
            "auto",
            "",
            "queue device entropy avif",
            {"encode": 1, "decode": 2, "queue": 3, "device": 3, "rate_control": 1, "entropy": 2},
        ),
    ],
)
def test_each_stage_is_counted_once_and_named_in_order(
    photo: Image.Image, codec: CodecName, report: str, names: str, counts: dict[str, int]
) -> None:
    timings = Timings()
    measures = frozenset(Measure(name) for name in report.split())

    async def steps(engine: Engine) -> None:
        picture = Picture.from_image(photo)
        await engine.coder.compress(
            picture, Target(bpp=3), profile="ms-ssim", codec=codec, report=measures, timings=timings
        )

    # One picture to a batch, so that batches can be counted.
    registry = scenario(steps, max_batch_pixels=1).registry

    assert list(timings.seconds) == names.split()
    for stage in get_args(Stage):
        count = registry.get_sample_value("ziggurat_stage_duration_seconds_count", {"stage": stage})
        assert count == counts.get(stage, 0), stage


def test_alpha_is_counted_as_encoding_and_not_shown(photo: Image.Image) -> None:
    timings = Timings()
    transparent = photo.copy()
    transparent.putalpha(90)

    async def steps(engine: Engine) -> None:
        picture = Picture.from_image(transparent)
        await engine.coder.compress(picture, Target(bpp=3), profile="ms-ssim", timings=timings)

    registry = scenario(steps).registry

    assert list(timings.seconds) == ["queue", "device", "entropy"]
    assert registry.get_sample_value("ziggurat_stage_duration_seconds_count", {"stage": "encode"}) == 1


def test_unknown_names_are_refused(photo: Image.Image) -> None:
    async def steps(engine: Engine) -> None:
        with pytest.raises(UnknownProfileError, match="ms-ssim"):
            await engine.coder.compress(Picture.from_image(photo), Target(bpp=1), profile="psnr")
        with pytest.raises(UnknownModelError, match="00000000"):
            engine.models.profile_of("00000000")
        assert engine.models.profile_of(engine.models.codecs["ms-ssim"].model_id) == "ms-ssim"

    scenario(steps)


def test_avif_keeps_neither_the_event_loop_nor_headers_waiting() -> None:
    """A search among AVIF files of a megapixel takes seconds; meanwhile the loop turns, and image
    threads are free."""
    noise = np.random.default_rng(1).integers(0, 256, (64, 64, 3), np.uint8)
    picture = Picture.from_array(np.asarray(Image.fromarray(noise).resize((512, 512))))

    async def steps(engine: Engine) -> None:
        busy = [
            asyncio.create_task(
                engine.coder.compress(picture, Target(bpp=0.5), profile="ms-ssim", codec="hybrid")
            )
            for _ in range(3)
        ]
        turns = 0
        while not any(search.done() for search in busy):
            assert await engine.stages.on_thread(READ_HEADER, None, lambda: 1) == 1
            turns += 1
            await asyncio.sleep(0.005)
        assert turns > 10
        assert len({(await search).stream.data for search in busy}) == 1

    metrics = scenario(steps, image_workers=1)
    assert metrics.registry.get_sample_value("ziggurat_streams_total", {"codec": "hybrid"}) == 3
    assert metrics.registry.get_sample_value("ziggurat_batch_images_count") == 0, (
        "the device had nothing to do"
    )


def test_a_client_that_hangs_up_ends_its_search() -> None:
    noise = np.random.default_rng(2).integers(0, 256, (64, 64, 3), np.uint8)
    picture = Picture.from_array(np.asarray(Image.fromarray(noise).resize((512, 512))))

    async def steps(engine: Engine) -> None:
        for codec in ("hybrid", "auto"):
            task = asyncio.create_task(
                engine.coder.compress(picture, Target(max_bytes=8_000), profile="ms-ssim", codec=codec)
            )
            await asyncio.sleep(0.1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        await engine.coder.compress(
            Picture.from_image(Image.new("RGB", (64, 64))),
            Target(quality=1),
            profile="ms-ssim",
            codec="hybrid",
        )

    metrics = scenario(steps, image_workers=1)
    assert metrics.registry.get_sample_value("ziggurat_streams_total", {"codec": "hybrid"}) == 1
    assert metrics.registry.get_sample_value("ziggurat_streams_total", {"codec": "learned"}) == 0


def test_both_codecs_take_a_large_picture_one_after_the_other(
    photo: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = Picture.from_image(photo)

    async def steps(engine: Engine) -> None:
        async def compress() -> bytes:
            made = await engine.coder.compress(picture, Target(bpp=0.5), profile="ms-ssim", codec="auto")
            return made.stream.data

        together = await compress()
        monkeypatch.setattr("service.engine.costs.LARGE_PIXELS", picture.pixels - 1)
        device = engine.stages.on_device
        avif = engine.stages.search_avif
        running: set[str] = set()

        async def alone(name: str, work: Awaitable[Any]) -> Any:
            assert not running
            running.add(name)
            try:
                return await work
            finally:
                running.remove(name)

        monkeypatch.setattr(engine.stages, "on_device", lambda *args: alone("device", device(*args)))
        monkeypatch.setattr(engine.stages, "search_avif", lambda *a, **k: alone("avif", avif(*a, **k)))
        assert await compress() == together

    scenario(steps)


def test_auto_fails_as_one(photo: Image.Image) -> None:
    async def steps(engine: Engine) -> None:
        late = time.monotonic() - 1
        with pytest.raises(DeadlineExceededError):
            await engine.coder.compress(
                Picture.from_image(photo), Target(bpp=1), profile="ms-ssim", codec="auto", deadline=late
            )

    scenario(steps)


def test_minima_with_effort_are_refined_last_and_only_while_there_is_time(photo: Image.Image) -> None:
    picture = Picture.from_image(photo)
    target = Target(min_ms_ssim=0.97)

    async def steps(engine: Engine) -> None:
        plain = await engine.coder.compress(picture, target, profile="ms-ssim")
        refined, late = [
            await engine.coder.compress(
                picture, target, profile="ms-ssim", effort=3, deadline=time.monotonic() + seconds
            )
            for seconds in (100, 5)  # what is kept for what comes after effort is more than 5
        ]
        for made in (plain, refined, late):
            assert made.stream.target_met
            assert made.report[Measure.MS_SSIM] == made.stream.scores["ms-ssim"] >= 0.97
        assert len(refined.stream.data) <= len(plain.stream.data)
        # Without time the attempts that effort was for are made all the same, without it.
        assert late.effort == 0
        assert len(late.stream.data) <= len(plain.stream.data)

    metrics = scenario(steps)

    done = {
        outcome: metrics.registry.get_sample_value("ziggurat_refinements_total", {"outcome": outcome}) or 0
        for outcome in ("complete", "skipped")
    }
    assert 1 <= done["complete"] <= MOST_REFINED
    assert 1 <= done["skipped"] <= MOST_REFINED
