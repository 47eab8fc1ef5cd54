"""Single pictures, from a file to its row: the engine of the service, without HTTP."""

from __future__ import annotations

import asyncio
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256
from typing import Generic, TypeVar

from obstore.exceptions import BaseError

from models.bitstream import Bitstream

from ..engine.engine import Engine
from ..engine.errors import OverloadedError, TargetMissedError, UnavailableError
from ..engine.requests import CompressRequest, Requests
from ..engine.results import OF_SETS, MeasuredFile, StoredStream
from ..http.problems import reason_of
from ..metrics import Metrics
from ..settings import Settings
from ..store import Limits, StoreError, StreamStore
from . import BulkError
from .places import Source, read
from .rows import (
    CRASHED,
    FAULT,
    FILE_TOO_LARGE,
    PASSING,
    SOURCE_MISSING,
    SOURCE_UNREADABLE,
    AnyRow,
    MeasuredRow,
    Row,
    Status,
)
from .work import Work

_PATIENCE_SECONDS = 86_400.0  # for one picture: nobody waits for it alone
_STORE_SECONDS = 60.0
_REMEMBERED = 10_000  # contents of files, of which a copy need not be compressed again
_CORES_AN_ENTROPY_WORKER = 4
_T = TypeVar("_T")


class Worker:
    """The engine and the store of one actor. `start` it, and `close` it. For one event loop.

    Args:
        work: what is done.
        engine: one that runs already; None, one of its own.
    """

    def __init__(self, work: Work, engine: Engine | None = None) -> None:
        settings, metrics = settings_of(work), Metrics()
        self.work = work
        self._engine = engine or Engine(settings, metrics)
        # The streams are the result: no quota evicts them.
        store = StreamStore(work.output, limits=Limits(max_bytes=0), timeout_seconds=_STORE_SECONDS)
        self._requests = Requests(settings, metrics, self._engine, store)

    async def start(self) -> None:
        """Load the model; raises what that raises."""
        await self._engine.start()

    async def close(self) -> None:
        """Stop the engine's threads and processes."""
        await self._engine.close()

    async def compress(self, file: bytes, wanted: CompressRequest) -> StoredStream:
        """Compress a file and store its stream, as `Requests.compress`, but wait for room."""
        return await _when_there_is_room(lambda: self._requests.compress(file, wanted))

    async def measure(self, file: bytes) -> MeasuredFile:
        """Measure a file's picture, as `Requests.measure`, but wait for room."""
        wishes = self.work.wishes
        return await _when_there_is_room(
            lambda: self._requests.measure(file, wishes.profile, wishes.metadata)
        )


class Pictures(ABC, Generic[AnyRow]):
    """Does files one by one: whatever becomes of one, there is a row.

    Args:
        worker: does the work.
    """

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._work = worker.work
        self._by_content: dict[tuple[bytes, int | None], AnyRow] = {}

    @abstractmethod
    def failed(self, source: Source, problem: str, detail: str, status: Status = "failed") -> AnyRow:
        """The row of a file that cannot be done."""

    @abstractmethod
    async def _done(self, source: Source, file: bytes) -> AnyRow:
        """Do a file; raises what the worker raises."""

    @abstractmethod
    def _same(self, source: Source, known: AnyRow) -> AnyRow:
        """The row of a file with the content of another one."""

    async def row(self, source: Source) -> AnyRow:
        """Do a file.

        Raises:
            BulkError: the output fails.
        """
        begun = time.monotonic()
        row = await self._row(source)
        return replace(row, seconds=round(time.monotonic() - begun, 3), finished=datetime.now(UTC))

    def crashed(self, source: Source) -> AnyRow:
        """The row of a file of which whole actors died."""
        return self.failed(source, CRASHED, "the process died of it, more than once")

    async def _row(self, source: Source) -> AnyRow:
        limit = self._work.means.max_file_bytes
        if source.size > limit:
            told = f"the file has {source.size} bytes, beyond the limit of {limit}"
            return self.failed(source, FILE_TOO_LARGE, told)
        try:
            file = await read(source)
        except FileNotFoundError:
            return self.failed(source, SOURCE_MISSING, "it was listed, and is gone")
        except (BaseError, OSError) as error:
            return self.failed(source, SOURCE_UNREADABLE, str(error))
        content = sha256(file).digest(), source.max_bytes
        if (known := self._by_content.get(content)) is not None:
            return self._same(source, known)
        row = await self._typed(source, file)
        if row.problem not in PASSING:
            self._by_content[content] = row
            if len(self._by_content) > _REMEMBERED:
                del self._by_content[next(iter(self._by_content))]
        return row

    async def _typed(self, source: Source, file: bytes) -> AnyRow:
        try:
            return await self._done(source, file)
        except TargetMissedError as error:
            return self.failed(source, "target-missed", str(error), "refused")
        except StoreError as error:
            raise BulkError(f"the output {self._work.output} fails: {error}; {error.__cause__}") from error
        except UnavailableError:
            os._exit(1)  # the device is gone, and a new process may find it again
        except Exception as error:
            problem = reason_of(error)
            return self.failed(source, problem or FAULT, str(error) if problem else repr(error))


class Compressing(Pictures[Row]):
    """Compresses files."""

    def failed(self, source: Source, problem: str, detail: str, status: Status = "failed") -> Row:
        """The row of a file that has no stream."""
        return Row(
            source=source.name,
            source_bytes=source.size,
            etag=source.etag,
            status=status,
            problem=problem,
            detail=detail,
            model_id=self._work.wishes.model_id,
            max_bytes=source.max_bytes,
            over_budget=status == "refused",
            seconds=0.0,
            finished=datetime.now(UTC),
            settings=self._work.settings,
            key=source.key(self._work.settings),
        )

    async def _done(self, source: Source, file: bytes) -> Row:
        wishes = self._work.wishes
        target = wishes.target_of(source.max_bytes)
        wanted = CompressRequest(
            target,
            wishes.profile,
            codec=wishes.codec,
            report=frozenset() if wishes.target else OF_SETS,
            effort=wishes.effort,
            strict=wishes.strict,
            metadata=wishes.metadata,
        )
        stored = await self._worker.compress(file, wanted)
        stream = stored.made.stream
        budget = target.budget(stream.width * stream.height)
        over = budget is not None and len(stream.data) > budget
        short = bool(target.minima) and not stream.target_met
        scores = {str(name): value for name, value in stream.scores.items()}
        scores |= {measure.value: value for measure, value in stored.made.report.items()}
        return Row(
            source=source.name,
            source_bytes=source.size,
            etag=source.etag,
            status="done",
            id=stored.id,
            output=f"{stored.id[:2]}/{stored.id}.zgt",
            bytes=len(stream.data),
            bpp=stream.bpp,
            width=stream.width,
            height=stream.height,
            quality=stream.quality,
            codec=stream.codec.name.lower(),
            model_id=Bitstream.parse(stream.data).model_id.hex(),
            max_bytes=budget,
            target_met=stream.target_met,
            over_budget=over or short,
            psnr=scores.get("psnr"),
            ms_ssim=scores.get("ms-ssim"),
            ssimulacra2=scores.get("ssimulacra2"),
            dropped=stored.kept.dropped,
            warnings=stored.warnings,
            seconds=0.0,
            finished=datetime.now(UTC),
            settings=self._work.settings,
            key=source.key(self._work.settings),
        )

    def _same(self, source: Source, known: Row) -> Row:
        key = source.key(self._work.settings)
        return replace(known, source=source.name, source_bytes=source.size, etag=source.etag, key=key)


class Measuring(Pictures[MeasuredRow]):
    """Measures files along the gain axis of a model."""

    def failed(self, source: Source, problem: str, detail: str, status: Status = "failed") -> MeasuredRow:
        """The row of a file that is not measured."""
        return replace(self._empty(source), status=status, problem=problem, detail=detail)

    async def _done(self, source: Source, file: bytes) -> MeasuredRow:
        found = await self._worker.measure(file)
        return replace(
            self._empty(source),
            width=found.width,
            height=found.height,
            sizes=tuple(point.size for point in found.measured),
            mse=tuple(point.mse for point in found.measured),
            ms_ssim=tuple(point.ms_ssim for point in found.measured),
        )

    def _same(self, source: Source, known: MeasuredRow) -> MeasuredRow:
        own = self._empty(source)
        return replace(known, root=own.root, path=own.path, size=own.size, etag=own.etag, key=own.key)

    def _empty(self, source: Source) -> MeasuredRow:
        return MeasuredRow(
            root=source.root,
            path=source.path,
            size=source.size,
            etag=source.etag,
            status="done",
            seconds=0.0,
            finished=datetime.now(UTC),
            key=source.key(self._work.settings),
        )


def settings_of(work: Work) -> Settings:
    """Settings of an engine for this work: one model, and no hurry."""
    means, profile = work.means, work.wishes.profile
    return Settings(
        device=means.device,
        models=(profile,),
        profile=profile,
        threads=means.cores,
        image_workers=max(1, means.cores // 2),
        entropy_workers=means.cores // _CORES_AN_ENTROPY_WORKER,
        max_pixels=means.max_pixels,
        request_timeout_seconds=_PATIENCE_SECONDS,
    )


async def _when_there_is_room(request: Callable[[], Awaitable[_T]]) -> _T:
    """Make a request until there is room for it: large pictures wait for others here."""
    while True:
        try:
            return await request()
        except OverloadedError as error:
            await asyncio.sleep(min(error.retry_after, 1.0))
