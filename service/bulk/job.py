"""A job: what is listed and not done yet, through the pool, to a manifest.

each         list ── less what is finished ── pool ── manifest
one budget   list ── measure ── two looks ── price ── shares ── less what is finished ── pool ──
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from obstore.exceptions import BaseError

from models.rate_control import Metric, Price

from . import BulkError, places
from .budget import Seen, look, parts_table, shares
from .journal import Attempts, Journal, Keys, find, keys_of
from .places import digest
from .rows import MANIFEST, SOURCES, MeasuredRow, Row, rows_of, schema_of, sources_of, sources_table, table
from .work import Means, Share, Wishes, Work

MANIFEST_NAME = "manifest.parquet"
_GROUP_ROWS = 50_000  # of the manifest, in memory at once
_PARTS_A_BLOCK = 64
_KEYS_AT_ONCE = 10_000  # files, as objects of Python


class Pool(Protocol):
    """What a job needs of `cluster.Cluster`."""

    def share(self, device: str) -> Share:
        """Share the cluster out."""
        ...

    def run(self, blocks: Sequence[pa.Table], work: Work, share: Share) -> Iterator[pa.Table]:
        """Have blocks of files done."""
        ...

    def map(
        self, blocks: Sequence[pa.Table], function: Callable[..., pa.Table], *arguments: object
    ) -> Iterator[pa.Table]:
        """Call a function with each table."""
        ...


class Teller(Protocol):
    """Who is told how the job goes."""

    def begin(self, what: str, to_do: int, done_before: int) -> None:
        """So many pictures are to be done now."""
        ...

    def rows(self, rows: Sequence[Row | MeasuredRow]) -> None:
        """Some of them are done."""
        ...


@dataclass(slots=True)
class Summary:
    """What became of all pictures that are listed.

    Attributes:
        done: with a stream, of this run or an earlier one.
        refused: without a stream, as `strict` asks.
        failed: whatever the reason.
        over: over their budget, or short of their minima.
        bytes: of the streams.
        pixels: of their pictures.
        budget: bytes for all of them, if they had one budget.
        reach: where that lies: "below", "within" or "above" the model's range.
        psnr: dB of one MSE over all pixels, where measured.
        ms_ssim: mean over the pictures, where measured.
    """

    done: int = 0
    refused: int = 0
    failed: int = 0
    over: int = 0
    bytes: int = 0
    pixels: int = 0
    budget: int | None = None
    reach: str | None = None
    psnr: float | None = None
    ms_ssim: float | None = None


class Listing:
    """The pictures there are.

    Attributes:
        sources: of `rows.SOURCES`, each once.
        others: files of other kinds.
    """

    def __init__(self, locations: Sequence[str], suffixes: Collection[str]) -> None:
        self.others = 0
        pages, names = [SOURCES.empty_table()], [keys_of([])]
        for images, others in places.find(locations, suffixes):
            self.others += others
            if images:
                pages.append(sources_table(images))
                names.append(keys_of([digest(source.name) for source in images]))
        _, first = np.unique(np.concatenate(names), return_index=True)
        self.sources = pa.concat_tables(pages).take(np.sort(first))


class Job:
    """Compresses all pictures of some places.

    Args:
        pool: does the work.
        wishes: for every picture.
        listing: the pictures.
        output: folder or address of a bucket.
        device: "cpu" or "cuda".
        max_pixels, max_file_bytes: limits of `Means`.
        force: do again what is finished.
        teller: is told how it goes.
    """

    def __init__(
        self,
        pool: Pool,
        wishes: Wishes,
        listing: Listing,
        output: str,
        *,
        device: str,
        max_pixels: int,
        max_file_bytes: int,
        force: bool = False,
        teller: Teller,
    ) -> None:
        self._pool = pool
        self._wishes = wishes
        self._listing = listing
        self._output = output
        self._force = force
        self._teller = teller
        self._share = pool.share(device)
        cores, at_once = self._share.cores, self._share.at_once
        self._means = Means(device, cores, at_once, max_pixels, max_file_bytes)

    def each(self) -> Summary:
        """Compress every picture to the same target. Raises `BulkError`."""
        work = Work(self._wishes, self._means, self._output)
        return self._finish(self._do(self._listing.sources, work, Row, "Compressing"), [])

    def one_budget(self, *, bpp: float | None, max_bytes: int | None, metric: Metric) -> Summary:
        """Compress all pictures to one budget.

        Args:
            bpp: the budget in bits per pixel of all pictures.
            max_bytes: the budget in bytes, instead of `bpp`.
            metric: what to be best in.

        Raises:
            BulkError: the output or the cluster fails.
        """
        measuring = Work(self._wishes, self._means, self._output, measures=True)
        parts, failed = self._measured(self._do(self._listing.sources, measuring, MeasuredRow, "Measuring"))
        first = Seen.of(self._pool.map(parts, look, self._output, metric, None))
        budget = max_bytes if max_bytes is not None else int((bpp or 0) * first.pixels / 8)
        inside, _ = first.histogram.runs_out(budget - first.histogram.smallest)
        second = Seen.of(self._pool.map(parts, look, self._output, metric, inside), inside)
        price = Price.find(budget, first.histogram, second.histogram)
        if self._wishes.strict and price.reach == "below":
            summary = Summary(failed=len(failed), over=first.pictures, refused=first.pictures)
            summary.budget, summary.reach = budget, price.reach
            summary.bytes = first.histogram.smallest
            return summary
        tables = [SOURCES.empty_table(), *self._pool.map(parts, shares, self._output, metric, price)]
        work = Work(self._wishes, self._means, self._output)
        summary = self._finish(self._do(pa.concat_tables(tables), work, Row, "Compressing"), failed)
        summary.budget, summary.reach = budget, price.reach
        summary.over = summary.done if summary.bytes > budget else 0
        return summary

    def _do(self, sources: pa.Table, work: Work, kind: type[Row] | type[MeasuredRow], what: str) -> Keys:
        """Do what is not finished; returns the keys of all, in their order."""
        keys, left = _left(sources, work.settings, None if self._force else Journal(self._output, kind))
        self._teller.begin(what, len(left), len(keys) - len(left))
        attempts = Attempts(self._output)
        attempts.forget()
        size = self._share.block(len(left))
        blocks = [left.slice(start, size).combine_chunks() for start in range(0, len(left), size)]
        for rows in self._pool.run(blocks, work, self._share):
            self._teller.rows(rows_of(rows, kind))
        attempts.forget()
        return keys

    def _measured(self, wanted: Keys) -> tuple[list[pa.Table], list[Row]]:
        """The parts with the measurements, and rows of what could not be measured."""
        journal = Journal(self._output, MeasuredRow)
        parts, failed = [], []
        for name, part, rows in journal.select(wanted):
            done = np.array(part["status"])[rows] == "done"
            if done.any():
                parts.append((name, rows[done]))
            if not done.all():
                failed += rows_of(journal.read(name).take(rows[~done]), MeasuredRow)
        groups = [parts[start : start + _PARTS_A_BLOCK] for start in range(0, len(parts), _PARTS_A_BLOCK)]
        return [parts_table(group) for group in groups], [self._unmeasured(row) for row in failed]

    def _unmeasured(self, row: MeasuredRow) -> Row:
        return Row(
            source=places.Source(row.root, row.path, row.size, row.etag).name,
            source_bytes=row.size,
            etag=row.etag,
            status=row.status,
            problem=row.problem,
            detail=row.detail,
            model_id=self._wishes.model_id,
            seconds=row.seconds,
            finished=row.finished,
            settings=self._wishes.settings,
            key=row.key,
        )

    def _finish(self, wanted: Keys, failed: list[Row]) -> Summary:
        """Write the manifest, and count what is in it."""
        summary = Summary()
        rows = 0
        squares, similarity = 0.0, 0.0
        with tempfile.TemporaryFile() as file:
            with pq.ParquetWriter(file, schema_of(Row), compression="zstd") as writer:
                for group in self._groups(wanted, failed):
                    writer.write_table(group)
                    rows += len(group)
                    squares, similarity = _count(summary, group, squares, similarity)
            if rows < len(wanted) + len(failed):
                raise BulkError(f"{len(wanted) + len(failed) - rows} rows are missing in the journal")
            file.seek(0)
            try:
                places.store(self._output).put(MANIFEST_NAME, file)
            except (BaseError, OSError) as error:
                raise BulkError(f"the manifest cannot be written: {error}") from error
        if summary.done and self._wishes.target is None:
            summary.psnr = float(-10 * np.log10(squares / summary.pixels)) if squares else np.inf
            summary.ms_ssim = similarity / summary.done
        return summary

    def _groups(self, wanted: Keys, failed: list[Row]) -> Iterator[pa.Table]:
        journal = Journal(self._output, Row)
        held = [table(failed, Row)]
        for name, _, rows in journal.select(wanted):
            held.append(journal.read(name).take(rows).cast(MANIFEST))
            if sum(map(len, held)) >= _GROUP_ROWS:
                yield pa.concat_tables(held)
                held = []
        if held:
            yield pa.concat_tables(held)


def unfinished(listing: Listing, wishes: Wishes, output: str, *, force: bool) -> int:
    """Count the pictures that a job would do; of one budget, those that it would measure.

    Raises `BulkError`.
    """
    measures = wishes.target is None
    nothing = force or not (places.is_url(output) or Path(output).is_dir())
    journal = None if nothing else Journal(output, MeasuredRow if measures else Row)
    settings = wishes.measure_settings if measures else wishes.settings
    return len(_left(listing.sources, settings, journal)[1])


def check_output(output: str) -> None:
    """Refuse an output whose manifest no job has written. Raises `BulkError`."""
    if not places.is_url(output) and not Path(output).exists():
        return
    try:
        places.store(output).head(MANIFEST_NAME)
        if not any(page for page in places.store(output).list("journal")):
            raise BulkError(f"{output} has a {MANIFEST_NAME}, and no journal of a job beside it")
    except FileNotFoundError:
        pass
    except BaseError as error:
        raise BulkError(f"{output} cannot be read: {error}") from error


def _left(sources: pa.Table, settings: str, journal: Journal[Any] | None) -> tuple[Keys, pa.Table]:
    """The keys of all files, in their order, and the files that the journal has not finished."""
    keys = keys_of([])
    for batch in sources.to_batches(max_chunksize=_KEYS_AT_ONCE):
        some = [source.key(settings) for source in sources_of(pa.Table.from_batches([batch]))]
        keys = np.concatenate([keys, keys_of(some)])
    settled = keys_of([]) if journal is None else journal.settled()
    return np.unique(keys), sources.filter(pa.array(find(settled, keys) < 0))


def _count(summary: Summary, rows: pa.Table, squares: float, similarity: float) -> tuple[float, float]:
    """Count rows; returns the sums of squared errors and of MS-SSIM with them."""
    status = np.array(rows["status"])
    summary.refused += int((status == "refused").sum())
    summary.failed += int((status == "failed").sum())
    summary.over += pc.sum(rows["over_budget"]).as_py() or 0
    done = rows.filter(pa.array(status == "done"))
    summary.done += len(done)
    pixels = np.array(done["width"], dtype=np.int64) * np.array(done["height"], dtype=np.int64)
    summary.bytes += pc.sum(done["bytes"]).as_py() or 0
    summary.pixels += int(pixels.sum())
    psnr = np.array(done["psnr"], dtype=np.float64)
    squares += float((pixels * 10 ** (-psnr / 10)).sum())
    return squares, similarity + float(np.array(done["ms_ssim"], dtype=np.float64).sum())
