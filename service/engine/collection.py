"""One budget for many pictures, out of the jobs of single ones.

    each picture: nine measurements ── allocation ── each picture: compress to its share

Pictures come one at a time, and twice: first to be measured, then to be compressed. Each
measurement is a job like that of any other request, and no more than a few are in the queue at
once, so that whoever comes in the meantime waits for those few and not for the collection. Effort,
for the streams that are kept, may take what is left of the time, shared out by pixels.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from models import Target
from models.collection import QUALITIES
from models.metadata import Kept, bytes_of
from models.rate_control import (
    MEMBER_TOLERANCE,
    Allocation,
    Measured,
    Metric,
    RateDistortion,
    SetScores,
    allocate,
    next_budget,
)

from ..images import Decoded
from . import watched
from .coder import PictureCoder
from .effort import cost
from .results import OF_SETS, Compressed, Measure
from .timings import Timings

JOBS_AT_ONCE = 4  # in the queue for one collection; on a GPU they make one batch

PictureSource = Callable[[float], Awaitable[Decoded]]
"""Gives a picture with its metadata anew whenever it is asked, until a deadline on
`time.monotonic`'s clock."""


@dataclass(frozen=True, slots=True)
class Collected:
    """A collection in streams, in the order of its pictures.

    Attributes:
        made: the streams, each measured by `OF_SETS`.
        kept: of each picture's metadata, and what was dropped.
        allocation: what each was to have.
        scores: of all together.
    """

    made: tuple[Compressed, ...]
    kept: tuple[Kept, ...]
    allocation: Allocation
    scores: SetScores

    @property
    def size(self) -> int:
        """Bytes of all streams."""
        return sum(len(compressed.stream.data) for compressed in self.made)


@dataclass(frozen=True, slots=True)
class StoredCollection:
    """A collection whose streams are stored.

    Attributes:
        collected: the streams and how they came out.
        budget: bytes that they were to have together.
        pixels: of all pictures.
        names: of the pictures, to the client.
        source_bytes: sizes of the files, or of the stored streams, that they were.
        ids: under which the streams are stored.
        timings: of the request.
    """

    collected: Collected
    budget: int
    pixels: int
    names: tuple[str, ...]
    source_bytes: tuple[int, ...]
    ids: tuple[str, ...]
    timings: Timings


async def compress_collection(
    coder: PictureCoder,
    sources: Sequence[PictureSource],
    pixels: Sequence[int],
    budget: int,
    *,
    metric: Metric,
    profile: str,
    effort: int = 0,
    deadline: float,
    timings: Timings | None = None,
) -> Collected:
    """Compress pictures so that all their streams together keep to one budget.

    Args:
        coder: compresses each.
        sources: give the pictures.
        pixels: of each picture.
        budget: bytes of all streams.
        metric: what to be best in, over all pictures.
        profile: name of the model.
        effort: 0 to 9, for the streams that are kept.
        deadline: when the result is of no more use, on `time.monotonic`'s clock.
        timings: account of the request; measuring for the allocation is not part of it.

    Raises what the sources and `PictureCoder.compress` raise.
    """
    curves: list[RateDistortion] = []
    made: list[Compressed] = []
    kept: list[Kept] = []
    with watched.shared(lambda: _share(pixels, len(curves), len(made), effort)):
        for source, count in zip(sources, pixels, strict=True):
            measured = await sweep(coder, await source(deadline), profile, deadline)
            curves.append(RateDistortion.of(measured, metric, count))
        allocation = allocate(curves, budget)
        for number, source in enumerate(sources):
            max_bytes = next_budget(allocation, [len(compressed.stream.data) for compressed in made], budget)
            original = await source(deadline)
            kept.append(original.kept)
            compressed = await coder.compress(
                original.picture,
                Target(max_bytes=max_bytes, tolerance=MEMBER_TOLERANCE),
                profile=profile,
                report=OF_SETS,
                effort=effort,
                effort_share=pixels[number] / sum(pixels[number:]),
                metadata=original.kept.section,
                deadline=deadline,
                timings=timings,
            )
            made.append(compressed)
    reports = [_measured(len(compressed.stream.data), compressed.report) for compressed in made]
    return Collected(tuple(made), tuple(kept), allocation, SetScores.of(reports, pixels))


def _share(pixels: Sequence[int], measured: int, made: int, effort: int) -> float:
    """Estimate how much of a collection is done, 0 to 1, when so many pictures are."""
    passes, last = len(QUALITIES), 1 + cost(effort)
    done = passes * sum(pixels[:measured]) + last * sum(pixels[:made])
    return done / ((passes + last) * sum(pixels))


async def sweep(coder: PictureCoder, original: Decoded, profile: str, deadline: float) -> list[Measured]:
    """Measure a picture's streams at QUALITIES, the metadata's bytes included."""
    picture, metadata_bytes = original.picture, bytes_of(original.kept.section)
    alpha = await coder.alpha_section(picture)
    room = asyncio.Semaphore(JOBS_AT_ONCE)

    async def at(quality: float) -> Measured:
        async with room:
            size, scores = await coder.measure(picture, alpha, quality, profile=profile, deadline=deadline)
            return _measured(size + metadata_bytes, scores)

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(at(quality)) for quality in QUALITIES]
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None  # the others are cancelled, or of the same kind
    return [task.result() for task in tasks]


def _measured(size: int, scores: Mapping[Measure, float]) -> Measured:
    mse = 10 ** (-scores[Measure.PSNR] / 10)  # 0 without an error, when PSNR is infinite
    return Measured(size, mse, scores[Measure.MS_SSIM])
