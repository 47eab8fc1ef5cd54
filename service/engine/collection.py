"""One budget for many pictures, out of the engine's own jobs.

    each picture: seven measurements ── allocation ── each picture: compress to its share, and measure what came of it

Pictures come one at a time, and twice: first to be measured, then to be compressed. Each measurement is a job like that of any other
request, and no more than a few are in the queue at once, so that whoever comes in the meantime waits for those few and not for the
collection. Effort, for the streams that are kept, may take what is left of the time, shared out by pixels.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from models import Picture, Target
from models.collection import QUALITIES
from models.rate_control import MEMBER_TOLERANCE, Allocation, Measured, Metric, RateDistortion, SetScores, allocate, next_budget

from .engine import Engine
from .results import Compressed, Measure
from .stages import Stages

JOBS_AT_ONCE = 4  # in the queue for one collection; on a GPU they make one batch

Source = Callable[[float], Awaitable[Picture]]
"""Gives a picture anew whenever it is asked, until a deadline."""


@dataclass(frozen=True, slots=True)
class Collected:
    """A collection in streams, in the order of its pictures.

    Attributes:
        made: the streams, each measured by every `Measure`.
        allocation: what each was to have.
        scores: of all together.
    """

    made: tuple[Compressed, ...]
    allocation: Allocation
    scores: SetScores

    @property
    def size(self) -> int:
        """Bytes of all streams."""
        return sum(len(made.stream.data) for made in self.made)


async def compress_collection(
    engine: Engine,
    sources: Sequence[Source],
    pixels: Sequence[int],
    budget: int,
    *,
    metric: Metric,
    profile: str,
    effort: int = 0,
    deadline: float,
    stages: Stages,
) -> Collected:
    """Compress pictures of so many pixels each to streams of `budget` bytes in all.

    `stages` count the streams that are kept, and not the measuring. Raises what the sources and `Engine.compress` raise.
    """
    curves = []
    for source, count in zip(sources, pixels, strict=True):
        measured = await _sweep(engine, await source(deadline), profile, deadline)
        curves.append(RateDistortion.of(measured, metric, count))
    allocation = allocate(curves, budget)
    made: list[Compressed] = []
    for number, source in enumerate(sources):
        left = next_budget(allocation, [len(compressed.stream.data) for compressed in made], budget)
        compressed = await engine.compress(
            await source(deadline),
            Target(max_bytes=left, tolerance=MEMBER_TOLERANCE),
            profile=profile,
            report=frozenset(Measure),
            effort=effort,
            effort_share=pixels[number] / sum(pixels[number:]),
            deadline=deadline,
            stages=stages,
        )
        made.append(compressed)
    scores = SetScores.of([_measured(len(compressed.stream.data), compressed.report) for compressed in made], pixels)
    return Collected(tuple(made), allocation, scores)


async def _sweep(engine: Engine, picture: Picture, profile: str, deadline: float) -> list[Measured]:
    alpha, room = await engine.alpha_section(picture), asyncio.Semaphore(JOBS_AT_ONCE)

    async def at(quality: float) -> Measured:
        async with room:
            return _measured(*await engine.measure(picture, alpha, quality, profile=profile, deadline=deadline))

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(at(quality)) for quality in QUALITIES]
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None  # the others are cancelled, or of the same kind
    return [task.result() for task in tasks]


def _measured(size: int, scores: Mapping[Measure, float]) -> Measured:
    return Measured(size, 10 ** (-scores[Measure.PSNR] / 10), scores[Measure.MS_SSIM])  # without an error, minus infinity makes it 0
