"""Whole requests without HTTP: each stage once, within the limits, and nothing left behind."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Awaitable, Callable
from hashlib import sha256

import numpy as np
import pytest
from PIL import Image

from models import Picture, Target
from models.errors import UnknownModelError
from models.learned.codec import LearnedCodec
from models.postprocess.postprocessor import PostProcessor
from service.engine.engine import Engine
from service.engine.errors import TargetMissedError
from service.engine.requests import AllocateRequest, CompressRequest, NamedFile, Requests, StoredPicture
from service.images import DamagedImageError, ImageFormat, ImageTooLargeError
from service.metrics import Metrics
from service.settings import Settings
from service.store import StreamStore
from tests.service.engine.scenario import scenario


def run(steps: Callable[[Requests], Awaitable[None]], **settings: object) -> Metrics:
    """Run steps against requests with one real model and a store in memory."""
    metrics = Metrics()

    async def main(engine: Engine) -> None:
        async with StreamStore("memory://") as store:
            await steps(Requests(Settings.model_validate(settings), metrics, engine, store))

    return scenario(main, metrics, **settings)


def encoded(image: Image.Image, image_format: str, **options: int) -> bytes:
    file = io.BytesIO()
    image.save(file, image_format, **options)
    return file.getvalue()


def stage_counts(metrics: Metrics) -> dict[str, float]:
    """Number of durations of each stage that there was."""
    return {
        sample.labels["stage"]: sample.value
        for family in metrics.registry.collect()
        for sample in family.samples
        if sample.name == "ziggurat_stage_duration_seconds_count" and sample.value
    }


def test_a_file_becomes_a_stored_stream_and_a_file_again(photo: Image.Image) -> None:
    async def steps(requests: Requests) -> None:
        stored = await requests.compress(encoded(photo, "PNG"), CompressRequest(Target(bpp=1), "ms-ssim"))
        assert list(stored.timings.seconds) == ["decode", "queue", "device", "entropy", "store"]
        assert stored.id == sha256(stored.made.stream.data).hexdigest()

        made = await requests.decompress_stored(stored.id, [ImageFormat.PNG], "off")
        assert list(made.timings.seconds) == ["store", "queue", "device", "entropy", "encode"]
        assert (made.sha256, made.post_processor) == (sha256(made.content).digest(), None)
        assert Image.open(io.BytesIO(made.content)).size == photo.size

        sent = await requests.decompress(stored.made.stream.data, [ImageFormat.PNG], "off")
        assert list(sent.timings.seconds) == ["queue", "device", "entropy", "encode"]
        assert sent.content == made.content

    assert stage_counts(run(steps)) == {
        "header": 3,
        "decode": 1,
        "queue": 3,
        "rate_control": 1,
        "device": 3,
        "entropy": 3,
        "encode": 2,
        "store": 2,
    }


def test_a_coarse_file_is_enhanced(photo: Image.Image) -> None:
    async def steps(requests: Requests) -> None:
        file = encoded(photo, "JPEG", quality=30)
        enhanced = await requests.enhance(file, [ImageFormat.PNG])
        assert list(enhanced.file.timings.seconds) == [
            "decode",
            "queue",
            "device",
            "entropy",
            "finish",
            "encode",
        ]
        assert enhanced.source.kind == "jpeg"
        assert enhanced.file.post_processor is not None
        assert enhanced.file.post_processor.model_id == PostProcessor.load().model_id
        before = np.asarray(Image.open(io.BytesIO(file)))
        assert (np.asarray(Image.open(io.BytesIO(enhanced.file.content))) != before).any()

    assert stage_counts(run(steps)) == {"header": 1, "decode": 2, "queue": 1, "device": 1, "encode": 1}


def test_files_and_stored_streams_share_a_budget(photo: Image.Image) -> None:
    async def steps(requests: Requests) -> None:
        first = await requests.compress(encoded(photo, "PNG"), CompressRequest(Target(quality=70), "ms-ssim"))
        members: list[NamedFile | StoredPicture] = [
            NamedFile("a.png", encoded(photo.crop((0, 0, 64, 64)), "PNG")),
            StoredPicture(first.id),
        ]

        stored = await requests.allocate(members, AllocateRequest(Target(max_bytes=900), "ms-ssim", "psnr"))
        assert list(stored.timings.seconds) == ["queue", "device", "entropy", "store"]
        assert (stored.budget, stored.pixels) == (900, 64 * 64 + 128 * 96)
        assert stored.names == ("a.png", first.id)
        assert 0.995 * 900 - 8 <= stored.collected.size <= 900
        made = stored.collected.made
        assert stored.ids == tuple(sha256(compressed.stream.data).hexdigest() for compressed in made)
        with pytest.raises(TargetMissedError, match="not 50"):
            await requests.allocate(
                members, AllocateRequest(Target(max_bytes=50), "ms-ssim", "psnr", strict=True)
            )

    metrics = run(steps)

    assert metrics.registry.get_sample_value("ziggurat_allocation_images_sum") == 2, (
        "only what was answered counts"
    )
    assert metrics.registry.get_sample_value("ziggurat_queue_pixels") == 0


def test_one_stream_named_many_times_is_refused_before_it_is_read_so_often(photo: Image.Image) -> None:
    async def steps(requests: Requests) -> None:
        stored = await requests.compress(encoded(photo, "PNG"), CompressRequest(Target(bpp=1), "ms-ssim"))
        wanted = AllocateRequest(Target(bpp=1), "ms-ssim", "psnr")
        with pytest.raises(ImageTooLargeError, match=r"^3 of 100 images"):
            await requests.allocate([StoredPicture(stored.id)] * 100, wanted)

    run(steps, max_pixels=2 * 128 * 96)


def test_a_strict_budget_is_kept_or_refused_and_nothing_stored(photo: Image.Image) -> None:
    async def steps(requests: Requests) -> None:
        with pytest.raises(TargetMissedError, match="not 10"):
            await requests.compress(
                encoded(photo, "PNG"), CompressRequest(Target(max_bytes=10), "ms-ssim", strict=True)
            )

    assert "store" not in stage_counts(run(steps))


def test_what_is_refused_leaves_no_room_taken(photo: Image.Image) -> None:
    large = Image.new("1", (101, 100))

    async def steps(requests: Requests) -> None:
        wanted = CompressRequest(Target(bpp=1), "ms-ssim")
        with pytest.raises(ImageTooLargeError):
            await requests.compress(encoded(large, "PNG"), wanted)
        with pytest.raises(DamagedImageError):
            await requests.compress(encoded(photo.resize((90, 90)), "JPEG")[:-500], wanted)
        half = NamedFile("half.png", encoded(large.resize((100, 51)), "PNG"))
        bad = NamedFile("bad.jpg", b"\xff\xd8\xff\xe0")
        together = AllocateRequest(Target(bpp=1), "ms-ssim", "psnr")
        with pytest.raises(ImageTooLargeError, match="10200 pixels together"):
            await requests.allocate([half, half], together)
        with pytest.raises(DamagedImageError, match=r"'bad\.jpg'"):
            await requests.allocate([half, bad], together)

    metrics = run(steps, max_pixels=10_000)

    assert metrics.registry.get_sample_value("ziggurat_queue_pixels") == 0
    assert "device" not in stage_counts(metrics)


def test_a_stream_of_a_model_that_is_not_loaded_is_refused_before_admission(photo: Image.Image) -> None:
    data = LearnedCodec.load("psnr").encode([Picture.from_image(photo)], [Target(quality=5)])[0].data

    async def steps(requests: Requests) -> None:
        with pytest.raises(UnknownModelError):
            await requests.decompress(data, [ImageFormat.PNG], "auto")

    assert stage_counts(run(steps)) == {"header": 1}


def test_a_client_that_hangs_up_leaves_its_room(photo: Image.Image) -> None:
    async def steps(requests: Requests) -> None:
        request = asyncio.create_task(
            requests.compress(encoded(photo, "PNG"), CompressRequest(Target(bpp=1), "ms-ssim", effort=9))
        )
        await asyncio.sleep(0.1)
        request.cancel()
        await asyncio.wait([request])

    assert run(steps).registry.get_sample_value("ziggurat_queue_pixels") == 0
