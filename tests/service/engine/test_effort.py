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
from service.engine.effort import EffortDeadline, cost
from service.engine.engine import Engine
from service.engine.results import Compressed
from service.metrics import Metrics
from tests.service.engine.scenario import scenario


def refinement(effort: int, *, until: float = math.inf, wanted: bool = True) -> EffortDeadline:
    return EffortDeadline(effort, until=until, run_others=lambda: None, wanted=lambda: wanted)


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
    others = []
    progress = EffortDeadline(6, until=math.inf, run_others=lambda: others.append(1), wanted=lambda: True)

    (stream,) = codec.encode([picture], [target], effort=6, progress=progress)

    assert stream.data == codec.encode([picture], [target], effort=6)[0].data
    assert len(others) >= 2 * ITERATIONS[6], "others have the device then too"


def test_it_starts_again_only_while_there_is_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Iterations of a second: it needs six more, and the three passes of a window."""
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr("service.engine.effort.time", SimpleNamespace(monotonic=lambda: clock.now))
    answers = []
    of = ITERATIONS[5]
    for until in (14.0, 16.0):
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


def test_what_nobody_waits_for_ends_early() -> None:
    drained = refinement(9, wanted=False)
    left = refinement(9)
    left.abandoned = True
    for progress in (drained, left):
        assert not progress.allows_start(0)
        assert not progress.advance(0, ITERATIONS[9])


def test_an_end_in_the_middle_of_a_large_picture_counts_what_each_window_has() -> None:
    """Two windows of 12 iterations: 4 in the first, with its last one, and one in the second."""
    progress = refinement(7)
    assert [progress.advance(done, 24) for done in range(3)] == [True] * 3
    progress.abandoned = True
    assert [progress.advance(done, 24) for done in (3, 12, 12, 24)] == [False] * 4
    assert progress.reached == 2


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
    ("left", "share", "outcome"), [(60.2, 1.0, "cut"), (80.0, 0.01, "cut"), (59.0, 1.0, "skipped")]
)
def test_the_deadline_bounds_effort(left: float, share: float, outcome: str) -> None:
    """A tenth of the 600 seconds is kept for what comes after, so that the refinement has 0.2
    seconds, or none."""
    picture = Picture.from_array(np.random.default_rng(1).integers(0, 255, (256, 256, 3), np.uint8))
    made: list[Compressed] = []

    async def steps(engine: Engine) -> None:
        deadline = time.monotonic() + left
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
