"""`ziggurat compress --engine ray`: buckets and folders through a Ray cluster."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich import progress as bars

from .console import ExitCode, Manner, check_profile, err, is_silent, notes, over, print_json
from .progress import Tally, left_out
from .server import settings_from

if TYPE_CHECKING:
    from collections.abc import Iterator

    from models import Target
    from models.rate_control import Metric

    from ..bulk.job import Listing, Summary
    from ..bulk.rows import MeasuredRow, Row
    from ..bulk.work import Wishes
    from .compress import Options

_JSON_SECONDS = 10.0  # between two lines of progress
_LINE_SECONDS = 60.0  # the same where there is no terminal


def compress(
    sources: Sequence[str],
    options: Options,
    target: Target | None,
    *,
    bpp: float | None = None,
    max_bytes: int | None = None,
    metric: Metric | None = None,
) -> None:
    """Compress images to one target each, or to one budget for all.

    Args:
        sources: folders, addresses of buckets, and files.
        options: what holds whatever the budget is.
        target: of each image; None with one budget.
        bpp, max_bytes: the one budget.
        metric: what one budget is best in; None, what the model was trained for.

    Raises:
        typer.BadParameter: the options do not make sense.
        BulkError: the output or the cluster fails.
    """
    from models.weights import registry

    output = _check(sources, options)
    settings = settings_from([])
    try:
        from ..bulk.job import Job, Listing, check_output, unfinished
        from ..bulk.work import Wishes
    except ModuleNotFoundError as error:
        raise _not_installed(error) from None
    from .pictures import suffixes

    card = registry.card(options.profile)
    wishes = Wishes(
        target,
        options.profile,
        card.model_id,
        codec=options.codec.value,
        effort=options.effort,
        strict=options.strict,
        metadata=options.metadata.value,
    )
    listing = Listing(sources, suffixes())
    if not len(listing.sources):
        skipped = f" ({listing.others} files of other kinds)" if listing.others else ""
        raise typer.BadParameter(f"nothing to read in {', '.join(sources)}{skipped}", param_hint="SOURCES")
    check_output(output)
    manner = options.manner
    if manner.dry_run:
        _plan(listing, wishes, output, manner, unfinished(listing, wishes, output, force=manner.force))
        return
    try:
        from ..bulk.cluster import connected
    except ModuleNotFoundError as error:
        raise _not_installed(error) from None
    with _shown(manner) as teller:
        try:
            with connected() as cluster:
                job = Job(
                    cluster,
                    wishes,
                    listing,
                    output,
                    device=options.device,
                    max_pixels=settings.max_pixels,
                    max_file_bytes=settings.max_body_bytes,
                    force=manner.force,
                    teller=teller,
                )
                if target is not None:
                    summary = job.each()
                else:
                    best_in = metric or ("psnr" if card.objective == "mse" else "ms-ssim")
                    summary = job.one_budget(bpp=bpp, max_bytes=max_bytes, metric=best_in)
        except KeyboardInterrupt:
            err.print(f"interrupted: {teller.told}; the same command goes on from here")
            raise typer.Exit(ExitCode.INTERRUPTED) from None
    _finish(summary, teller, listing, output, manner)


def _check(sources: Sequence[str], options: Options) -> str:
    """Refuse what makes no sense with a cluster; returns the output."""
    from ..bulk import places

    output = options.output
    if output is None or output in ("", "-"):
        raise typer.BadParameter(
            "--engine ray needs a folder or the address of a bucket for its streams and its manifest",
            param_hint="--output",
        )
    if not places.is_url(output) and Path(output).exists() and not Path(output).is_dir():
        raise typer.BadParameter(f"{output} is a file, and a folder is needed", param_hint="--output")
    manner, device = options.manner, options.device
    for option, is_refused, reason in (
        ("SOURCES", "-" in sources, "stdin is one image, and --engine ray is for many"),
        (
            "--no-overwrite",
            manner.no_overwrite,
            "with --engine ray no stream is ever replaced: they are named by their content",
        ),
        ("--jobs", manner.jobs > 1, "--engine ray takes all that the Ray cluster has"),
        ("--device", device not in ("cpu", "cuda"), f"--engine ray takes cpu or cuda, not {device}"),
    ):
        if is_refused:
            raise typer.BadParameter(reason, param_hint=option)
    check_profile(options.profile)
    return places.absolute(output)


def _not_installed(error: ModuleNotFoundError) -> typer.BadParameter:
    return typer.BadParameter(
        f"there is no module {error.name}: pip install 'ziggurat[cluster]'", param_hint="--engine"
    )


def _plan(listing: Listing, wishes: Wishes, output: str, manner: Manner, left: int) -> None:
    count, size = len(listing.sources), sum(listing.sources["size"].to_pylist())
    if manner.as_json:
        print_json(
            {"status": "planned", "output": output, "images": count, "to_do": left, "source_bytes": size}
        )
    what = "to measure, and all to one budget" if wishes.target is None else "to do"
    notes.print(f"{count} images, {size} bytes -> {output}  {left} {what}, {count - left} done before")


class _Told:
    """Tells how a job goes: a bar on a terminal, lines elsewhere, and a line for each failure."""

    def __init__(self, manner: Manner, shown: bars.Progress) -> None:
        from ..bulk.pace import Pace

        self._manner = manner
        self._shown = shown
        self._what = ""
        self._bar: bars.TaskID | None = None
        self._pace = Pace(0)
        self._last = time.monotonic()
        self._bits = self._pixels = 0
        self.told = Tally()

    def begin(self, what: str, to_do: int, done_before: int) -> None:
        """Begin a bar for so many pictures."""
        from ..bulk.pace import Pace

        if self._bar is not None:
            self._shown.remove_task(self._bar)
        self._what, self._pace = what, Pace(to_do)
        self._bar = self._shown.add_task(what, total=to_do, pace="starting")
        if done_before:
            notes.print(f"{what}: {to_do} to do, {done_before} done before")

    def rows(self, rows: Sequence[Row | MeasuredRow]) -> None:
        """Tell what became of pictures, and how far the work is."""
        for row in rows:
            self._row(row)
        self._pace.advance(len(rows))
        if self._bar is not None:
            self._shown.update(self._bar, completed=self._pace.done, pace=self._spoken())
        due = time.monotonic() - self._last
        is_end = self._pace.done >= self._pace.total
        if self._manner.as_json and (due >= _JSON_SECONDS or is_end):
            self._last = time.monotonic()
            self._print_progress()
        elif not self._manner.as_json and is_silent() and due >= _LINE_SECONDS:
            self._last = time.monotonic()
            notes.print(f"{self._what}: {self._pace.done} of {self._pace.total}, {self._spoken()}")

    def _row(self, row: Row | MeasuredRow) -> None:
        from ..bulk.rows import MeasuredRow, Row

        name = row.source if isinstance(row, Row) else f"{row.root}/{row.path}"
        if row.status == "failed":
            self.told.failed += 1
        if row.status != "done":
            err.print(f"{name}: {row.detail}")
        if isinstance(row, MeasuredRow):
            if row.status == "failed" and self._manner.as_json:
                print_json({"file": name, "status": "failed", "error": row.detail, "problem": row.problem})
            return
        if row.status == "done":
            self.told.done += 1
            self._bits += 8 * (row.bytes or 0)
            self._pixels += (row.width or 0) * (row.height or 0)
            for remark in (*row.warnings, *left_out(row.dropped)):
                notes.print(f"{name}: {remark}")
        if row.over_budget and row.status == "done":
            self._tell_over(name, row)
        if self._manner.as_json:
            print_json(_facts(row))

    def _tell_over(self, name: str, row: Row) -> None:
        size, budget = row.bytes or 0, row.max_bytes
        if budget is not None and size > budget:
            told = f"over budget: {over(size, budget)} is the smallest stream there is"
        else:
            told = "out of reach: this is the stream nearest to the minima"
        err.print(f"{name}: {told}; it is kept; --strict would refuse it")

    def _spoken(self) -> str:
        from ..bulk.pace import spoken

        parts = [f"{self._bits / self._pixels:.4f} bpp"] if self._pixels else []
        rate, left, end = self._pace.per_second, self._pace.seconds_left, self._pace.end(datetime.now())
        if rate is not None and left is not None and end is not None:
            parts += [f"{rate:.1f} images/s", f"about {spoken(left)} left, until {end:%a %H:%M}"]
        return ", ".join(parts) or "starting"

    def _print_progress(self) -> None:
        pace, end = self._pace, self._pace.end(datetime.now().astimezone())
        facts: dict[str, Any] = {
            "pass": "measure" if self._what == "Measuring" else "compress",
            "done": pace.done,
            "of": pace.total,
            "failed": self.told.failed,
            "images_per_second": None if pace.per_second is None else round(pace.per_second, 2),
            "seconds_left": None if pace.seconds_left is None else round(pace.seconds_left, 1),
            "estimated_end": None if end is None else end.isoformat(timespec="seconds"),
        }
        print_json({"progress": facts})


@contextmanager
def _shown(manner: Manner) -> Iterator[_Told]:
    columns = (
        bars.TextColumn("{task.description}"),
        bars.BarColumn(),
        bars.MofNCompleteColumn(),
        bars.TextColumn("{task.fields[pace]}"),
    )
    with bars.Progress(*columns, console=notes, transient=True, disable=is_silent()) as shown:
        yield _Told(manner, shown)


def _facts(row: Row) -> dict[str, object]:
    facts: dict[str, object] = {"file": row.source, "status": row.status, "source_bytes": row.source_bytes}
    if row.status != "done":
        return facts | {"error": row.detail, "problem": row.problem}
    return facts | {
        "output": row.output,
        "id": row.id,
        "bytes": row.bytes,
        "bpp": row.bpp,
        "width": row.width,
        "height": row.height,
        "quality": row.quality,
        "codec": row.codec,
        "max_bytes": row.max_bytes,
        "target_met": row.target_met,
        "over_budget": row.over_budget,
        "psnr": row.psnr,
        "ms_ssim": row.ms_ssim,
        "dropped": list(row.dropped),
    }


def _finish(summary: Summary, teller: _Told, listing: Listing, output: str, manner: Manner) -> None:
    """Sum up, and leave with the exit code that it comes to."""
    if summary.budget is not None:
        _tell_budget(summary)
    tally = Tally(
        done=teller.told.done,
        done_before=summary.done - teller.told.done,
        failed=summary.failed,
        over=summary.over,
    )
    others = f"; {listing.others} files of other kinds left alone" if listing.others else ""
    notes.print(f"{tally}{others}")
    if manner.as_json:
        names = ("done", "refused", "failed", "over", "bytes", "pixels", "budget", "reach", "psnr", "ms_ssim")
        facts = {name: getattr(summary, name) for name in names}
        print_json({"summary": facts | {"done_before": tally.done_before, "output": output}})
    if tally.exit_code:
        raise typer.Exit(tally.exit_code)


def _tell_budget(summary: Summary) -> None:
    budget = summary.budget or 0
    if summary.refused:
        err.print(
            f"over budget: {over(summary.bytes, budget)} are the smallest streams there are; no stream is "
            "written"
        )
        return
    if summary.over:
        err.print(f"over budget: {over(summary.bytes, budget)} are the smallest streams there are")
    elif summary.reach == "above":
        notes.print("the budget is above the model's range: these are the best streams there are")
    if summary.done:
        notes.print(
            f"{summary.done} streams  {summary.bytes} of {budget} bytes ({summary.bytes / budget:.2%})  "
            f"{8 * summary.bytes / summary.pixels:.4f} bpp  "
            f"PSNR of all pixels {summary.psnr:.2f} dB  mean MS-SSIM {summary.ms_ssim:.4f}"
        )
