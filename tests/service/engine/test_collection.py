from __future__ import annotations

import asyncio
from typing import Any

import pytest
from PIL import Image

from models import Picture, Target
from models.errors import DamagedStreamError
from service.engine.coder import PictureCoder
from service.engine.collection import JOBS_AT_ONCE, compress_collection
from service.engine.engine import Engine
from service.engine.errors import DeadlineExceededError
from service.engine.results import Compressed
from service.images import Decoded
from service.metrics import Metrics
from tests.service.engine.scenario import scenario


class Shelf:
    """Gives pictures, and knows how many were taken from it."""

    def __init__(self, *pictures: Picture) -> None:
        self._pictures = pictures
        self.taken = 0
        self.pixels = [picture.pixels for picture in pictures]
        self.sources = [self._source(picture) for picture in pictures]

    def _source(self, picture: Picture):  # type: ignore[no-untyped-def]
        async def take(deadline: float) -> Decoded:
            self.taken += 1
            return Decoded(picture)

        return take


def shelf(photo: Image.Image, count: int = 3) -> Shelf:
    return Shelf(*(Picture.from_image(photo.crop((0, 8 * number, 128, 96))) for number in range(count)))


def test_pictures_share_a_budget_and_only_their_streams_are_counted(photo: Image.Image) -> None:
    pictures = shelf(photo)

    async def steps(engine: Engine) -> None:
        found = await compress_collection(
            engine.coder,
            pictures.sources,
            pictures.pixels,
            1500,
            metric="ms-ssim",
            profile="ms-ssim",
            deadline=float("inf"),
        )
        assert 0.995 * 1500 - 8 <= found.size <= 1500
        assert found.allocation.reach == "within"
        assert 0.9 < found.scores.ms_ssim < 1

    metrics = scenario(steps)

    assert pictures.taken == 2 * 3, "one at a time: once to measure, once to compress"
    assert metrics.registry.get_sample_value("ziggurat_rate_bpp_count") == 3
    assert metrics.registry.get_sample_value("ziggurat_pixels_total", {"direction": "compress"}) == sum(
        pictures.pixels
    )


def test_the_time_for_effort_is_shared_out_by_pixels(
    photo: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures = Shelf(*(Picture.from_image(photo.crop((0, 0, width, 64))) for width in (128, 64, 64)))
    shares = []
    compress = PictureCoder.compress

    async def watched(
        coder: PictureCoder, *arguments: Any, effort_share: float, **keywords: Any
    ) -> Compressed:
        shares.append(effort_share)
        return await compress(coder, *arguments, effort_share=effort_share, **keywords)

    monkeypatch.setattr(PictureCoder, "compress", watched)

    async def steps(engine: Engine) -> None:
        found = await compress_collection(
            engine.coder,
            pictures.sources,
            pictures.pixels,
            1500,
            metric="ms-ssim",
            profile="ms-ssim",
            effort=1,
            deadline=float("inf"),
        )
        assert [compressed.effort for compressed in found.made] == [1, 1, 1]

    scenario(steps)

    assert shares == [0.5, 0.5, 1.0]  # of what is left


def test_whoever_comes_in_the_meantime_does_not_wait_for_the_collection(photo: Image.Image) -> None:
    pictures = shelf(photo, 12)
    metrics = Metrics()

    async def steps(engine: Engine) -> None:
        collecting = asyncio.create_task(
            compress_collection(
                engine.coder,
                pictures.sources,
                pictures.pixels,
                6000,
                metric="psnr",
                profile="ms-ssim",
                deadline=float("inf"),
            )
        )
        longest = 0.0
        while pictures.taken < 4:
            longest = max(longest, metrics.registry.get_sample_value("ziggurat_queue_images") or 0)
            await asyncio.sleep(0.001)
        await engine.coder.compress(
            Picture.from_image(photo.resize((40, 40))), Target(quality=50), profile="ms-ssim"
        )
        assert not collecting.done()
        assert pictures.taken < 12
        assert longest <= JOBS_AT_ONCE
        await collecting

    scenario(steps, metrics)


def test_an_error_is_the_callers_and_leaves_nothing_behind(photo: Image.Image) -> None:
    pictures = shelf(photo)

    async def bad(deadline: float) -> Decoded:
        raise DamagedStreamError("it rotted")

    async def steps(engine: Engine) -> None:
        with pytest.raises(DamagedStreamError, match="it rotted"):
            await compress_collection(
                engine.coder,
                [pictures.sources[0], bad],
                pictures.pixels[:2],
                900,
                metric="psnr",
                profile="ms-ssim",
                deadline=float("inf"),
            )
        with pytest.raises(DeadlineExceededError):
            await compress_collection(
                engine.coder,
                pictures.sources,
                pictures.pixels,
                900,
                metric="psnr",
                profile="ms-ssim",
                deadline=0,
            )

    metrics = scenario(steps)

    assert metrics.registry.get_sample_value("ziggurat_queue_images") == 0
