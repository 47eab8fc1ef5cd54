"""Effort on the device ends in time, lets others in between, and says how much of it was done."""

from __future__ import annotations

import asyncio
import math
import time
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from models import Picture, Target
from models.learned.codec import LearnedCodec
from models.learned.refinement.refiner import ITERATIONS
from models.progress import Progress
from service.engine.effort import MARGIN, EffortDeadline, cost
from service.engine.engine import Engine
from service.engine.errors import AbandonedError
from service.engine.results import Compressed
from service.metrics import Metrics
from tests.service.engine.scenario import scenario


def refinement(effort: int, *, until: float = math.inf, wanted: bool = True) -> EffortDeadline:
    return EffortDeadline(effort, until=until, wanted=lambda: wanted)


class Counted(Progress):
    """Counts pauses."""

    def __init__(self) -> None:
        self.pauses = 0

    def pause(self) -> None:
        self.pauses += 1


def test_cost_rises_with_effort() -> None:
    costs = [cost(effort) for effort in range(10)]
    assert costs[0] == 0
    assert costs == sorted(set(costs))


@pytest.mark.parametrize("effort", [1, 4])
def test_all_of_it_is_done_when_there_is_time(codec: LearnedCodec, photo: Image.Image, effort: int) -> None:
    picture = Picture.from_image(photo)
    target = Target(bpp=0.5)
    progress = refinement(effort)

    (stream,) = codec.encode([picture], [target], effort=effort, progress=progress)

    assert progress.reached == effort
    assert stream.data == codec.encode([picture], [target], effort=effort)[0].data


def test_what_ended_far_under_its_budget_starts_again_here_too(
    codec: LearnedCodec, photo: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("models.learned.refinement.refiner.ANNEALED_TARGET_FRACTION", 0.3)
    picture = Picture.from_image(photo)
    target = Target(bpp=0.3)
    others = Counted()
    progress = refinement(6)
    progress.begin(others)

    (stream,) = codec.encode([picture], [target], effort=6, progress=progress)

    assert stream.data == codec.encode([picture], [target], effort=6)[0].data
    assert others.pauses >= 2 * ITERATIONS[6], "others have the device then too"


def test_it_starts_again_only_while_there_is_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Iterations of a second: it needs six more, the three passes of a window, and the margin."""
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr("service.engine.effort.time", SimpleNamespace(monotonic=lambda: clock.now))
    answers = []
    of = ITERATIONS[5]
    for until in (19.0, 20.0):
        clock.now = 0.0
        progress = refinement(5, until=until)
        for done in range(of):
            assert progress.advance(done, of)
            clock.now += 1
        progress.advance(of, of)
        answers.append(progress.affords(of))
    assert answers == [False, True]
    clock.now += 5
    assert not progress.affords(of - 1)


def test_past_the_deadline_it_ends_with_a_valid_stream(codec: LearnedCodec, photo: Image.Image) -> None:
    picture = Picture.from_image(photo)
    target = Target(bpp=0.5)
    progress = refinement(9, until=time.monotonic())

    (stream,) = codec.encode([picture], [target], effort=9, progress=progress)

    assert progress.reached == 1
    assert len(stream.data) <= 768
    assert codec.decode([stream.data])[0].width == picture.width
    assert not progress.allows_start(0)


def test_a_service_that_stops_ends_it_early() -> None:
    drained = refinement(9, wanted=False)
    assert not drained.allows_start(0)
    assert not drained.advance(0, ITERATIONS[9])


def test_what_nobody_waits_for_ends_at_once(codec: LearnedCodec, photo: Image.Image) -> None:
    """Not with one more iteration for every window, and not with a stream."""

    class Left(Counted):
        def pause(self) -> None:
            super().pause()
            if self.pauses > 8:  # in the middle of the iterations
                raise AbandonedError

    client = Left()
    progress = refinement(9)
    progress.begin(client)
    picture = Picture.from_image(photo)
    with pytest.raises(AbandonedError):
        codec.encode([picture], [Target(bpp=0.5)], effort=9, progress=progress)
    assert client.pauses == 9


def test_an_end_in_the_middle_of_a_large_picture_counts_what_each_window_has() -> None:
    """Two windows of 12 iterations: 4 in the first, with its last one, and one in the second."""
    stopping = False
    progress = EffortDeadline(7, until=math.inf, wanted=lambda: not stopping)
    assert [progress.advance(done, 24) for done in range(3)] == [True] * 3
    stopping = True
    assert [progress.advance(done, 24) for done in (3, 12, 12, 24)] == [False] * 4
    assert progress.reached == 2


def test_the_last_passes_have_a_margin(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three passes of a second are left; half as long again is kept for them."""
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr("service.engine.effort.time", SimpleNamespace(monotonic=lambda: clock.now))
    progress = refinement(9, until=10.0)
    done = 0
    while progress.advance(done, ITERATIONS[9]):
        done += 1
        clock.now += 1
    assert clock.now + 3 * MARGIN > 10 >= clock.now - 1 + 3 * MARGIN


def test_the_time_that_windows_still_need_is_kept_for_them() -> None:
    """40 windows of three passes at least, in iterations of 0.02 seconds, take 2.5 seconds: more
    than the 2 that there are."""
    progress = refinement(6, until=time.monotonic() + 2)
    of = 40 * ITERATIONS[6]
    answers = []
    for done in range(3):
        answers.append(progress.advance(done, of))
        time.sleep(0.02)
    assert answers == [True, False, False]


def test_others_have_the_device_between_iterations() -> None:
    """On one device thread, pictures without effort do not wait for one of thirty iterations."""
    large = Picture.from_array(np.random.default_rng(1).integers(0, 255, (128, 128, 3), np.uint8))
    small = Picture.from_array(large.rgb[:64, :64])

    async def steps(engine: Engine) -> None:
        refined = asyncio.create_task(
            engine.coder.compress(large, Target(bpp=1), profile="ms-ssim", effort=9)
        )
        second = asyncio.create_task(engine.coder.compress(small, Target(bpp=1), profile="ms-ssim", effort=1))
        for _ in range(3):
            plain = await engine.coder.compress(small, Target(bpp=1), profile="ms-ssim")
            assert plain.effort == 0
        assert not refined.done()
        assert not second.done(), "effort waits for its turn"
        assert (await refined).effort == 9
        assert (await second).effort == 1

    registry = scenario(steps, device_threads=1).registry

    assert registry.get_sample_value("ziggurat_refinements_total", {"outcome": "complete"}) == 2
    assert registry.get_sample_value("ziggurat_stage_duration_seconds_count", {"stage": "refine"}) == 2


@pytest.mark.parametrize(
    ("encodes", "share", "outcome"), [(20, 1.0, "cut"), (2000, 0.01, "cut"), (-1, 1.0, "skipped")]
)
def test_the_deadline_bounds_effort(encodes: float, share: float, outcome: str) -> None:
    """A tenth of the 600 seconds is kept for what comes after. The refinement has the time of
    twenty encodes, of the ninety that it wants, or none."""
    picture = Picture.from_array(np.random.default_rng(1).integers(0, 255, (256, 256, 3), np.uint8))
    made: list[Compressed] = []

    async def steps(engine: Engine) -> None:
        encode = engine.stages.device.seconds_per_pixel * picture.pixels
        deadline = time.monotonic() + 60 + encodes * encode
        target = Target(bpp=0.5)
        made.append(
            await engine.coder.compress(
                picture, target, profile="ms-ssim", effort=9, effort_share=share, deadline=deadline
            )
        )

    metrics = scenario(steps, request_timeout_seconds=600)

    (compressed,) = made
    assert compressed.effort < 9
    assert len(compressed.stream.data) <= 0.5 * picture.pixels / 8
    assert metrics.registry.get_sample_value("ziggurat_refinements_total", {"outcome": outcome}) == 1


def test_a_client_that_hangs_up_ends_the_refinement() -> None:
    picture = Picture.from_array(np.random.default_rng(1).integers(0, 255, (256, 256, 3), np.uint8))
    metrics = Metrics()

    def value(name: str, **labels: str) -> float:
        return metrics.registry.get_sample_value(f"ziggurat_{name}", labels) or 0

    async def steps(engine: Engine) -> None:
        client = asyncio.create_task(
            engine.coder.compress(picture, Target(bpp=1), profile="ms-ssim", effort=9)
        )
        while not value("stage_duration_seconds_count", stage="queue"):
            await asyncio.sleep(0.01)
        client.cancel()
        await asyncio.wait([client])
        while not value("refinements_total", outcome="cut") and not value(
            "refinements_total", outcome="skipped"
        ):
            await asyncio.sleep(0.01)
        assert not value("refinements_total", outcome="complete")

    scenario(steps, metrics)
