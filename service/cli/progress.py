"""Work through many files: progress bars, how long effort takes, a line for each failure, a sum."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Generator, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from enum import Flag, auto
from functools import partial
from pathlib import Path

import typer
from rich import progress as bars

from models.progress import Progress

from .console import PLAIN, ExitCode, Manner, err, is_silent, notes, print_json
from .paths import STDIN, STDOUT, Found

ANNOUNCED_SECONDS = 10  # effort that takes at least as long is announced


class Outcome(Flag):
    """Result of a source that did not fail."""

    DONE = auto()
    DONE_BEFORE = auto()  # by an earlier run
    KEPT = auto()  # the file that is there, as --no-overwrite asks
    PLANNED = auto()  # nothing is written, as --dry-run asks
    OVER = auto()  # the smallest stream is over the budget: kept, or else refused


@dataclass(frozen=True, slots=True)
class Result:
    """Result of a source that did not fail, and what there is to tell of it.

    Attributes:
        outcome: for the sum.
        line: for people; empty, nothing.
        facts: for programs, besides the file and the status; None, nothing is told.
        remarks: lines for people that follow, in JSON's case too.
    """

    outcome: Outcome = Outcome.DONE
    line: str = ""
    facts: Mapping[str, object] | None = None
    remarks: Collection[str] = ()

    @property
    def status(self) -> str:
        """The outcome for programs."""
        for outcome in (Outcome.DONE_BEFORE, Outcome.KEPT, Outcome.PLANNED, Outcome.DONE):
            if outcome in self.outcome:
                return str(outcome.name).lower()
        return "refused"


Work = Callable[[Path, Progress], Result | None]
"""Does one source, and returns what became of it; None is done, and nothing to tell."""


@dataclass(slots=True)
class Tally:
    """How many sources came to what."""

    done: int = 0
    done_before: int = 0
    kept: int = 0
    planned: int = 0
    over: int = 0
    failed: int = 0

    @property
    def exit_code(self) -> ExitCode:
        """Exit code of the run; failures weigh more than sources over their budget."""
        if self.failed:
            return ExitCode.FAILED
        return ExitCode.OVER_BUDGET if self.over else ExitCode.OK

    def count(self, outcome: Outcome) -> None:
        """Count a source that did not fail."""
        self.done += Outcome.DONE in outcome
        self.done_before += Outcome.DONE_BEFORE in outcome
        self.kept += Outcome.KEPT in outcome
        self.planned += Outcome.PLANNED in outcome
        self.over += Outcome.OVER in outcome

    def __str__(self) -> str:
        parts = [f"{self.planned} to do"] if self.planned else [f"{self.done} done"]
        parts += [f"{self.done_before} done before"] if self.done_before else []
        parts += [f"{self.kept} kept as they are"] if self.kept else []
        parts += [f"{self.failed} failed"] if self.failed else []
        parts += [f"{self.over} over budget"] if self.over else []
        return ", ".join(parts)


def larger_than_source(stream: int, source: int) -> list[str]:
    """The remark that a stream has more bytes than the file it was made of, if it has."""
    told = f"the stream is larger than the source: {stream} bytes, and the source has {source}"
    return [told] if stream > source else []


def left_out(dropped: Collection[str]) -> list[str]:
    """The remark that metadata of the source is not in the result, if there was any."""
    return [f"left out of the metadata: {', '.join(dropped)}"] if dropped else []


def label(path: Path) -> str:
    """A file for programs: stdin and stdout as they are typed."""
    return "-" if path in (STDIN, STDOUT) else str(path)


def kept(target: Path) -> Result:
    """The result of a source whose file is there, and is not to be overwritten."""
    return Result(Outcome.KEPT, f"{target}  exists, and is left as it is", {"output": label(target)})


def work_through(
    sources: Collection[Path],
    work: Work,
    description: str,
    manner: Manner = PLAIN,
    *,
    goes_on: bool = False,
) -> Tally:
    """Do `work` for each source, with a progress bar for several and one for effort.

    A source that fails gets a line that says why, and the others are still done.

    Args:
        sources: in the order of the work.
        work: does one. With several jobs it is called in several threads.
        description: of the work, beside its bar.
        manner: how many at the same time, and whether what became of them is told in JSON, in the
            order in which they are done.
        goes_on: the same command would go on from what was done; it is said at an interruption.

    Raises:
        typer.Exit: of an interruption from the keyboard.
    """
    tally = Tally()
    stopped = threading.Event()
    with bars.Progress(console=notes, transient=True, disable=is_silent()) as shown:
        files = shown.add_task(description, total=len(sources), visible=len(sources) > 1)

        def one(source: Path) -> Result | None:
            bar = _EffortBar(source, shown, stopped)
            try:
                return work(source, bar)
            finally:
                bar.remove()

        at = ""
        try:
            with closing(_done(sources, one, manner.jobs, stopped)) as results:
                for source, result_of in results:
                    at = f" at {source}" if manner.jobs == 1 else ""
                    try:
                        result = result_of() or Result()
                    except BrokenPipeError:
                        raise  # nobody reads any more
                    except Exception as error:
                        _tell_failure(source, _reason(error), manner)
                        tally.failed += 1
                    else:
                        _tell(source, result, manner)
                        tally.count(result.outcome)
                    shown.advance(files)
        except KeyboardInterrupt:
            hint = "; the same command goes on from here" if goes_on else ""
            err.print(f"interrupted{at}: {tally} of {len(sources)}{hint}")
            raise typer.Exit(ExitCode.INTERRUPTED) from None
    return tally


def _tell(source: Path, result: Result, manner: Manner) -> None:
    if manner.as_json and result.facts is not None:
        print_json({"file": label(source), "status": result.status, **result.facts})
    elif result.line and not manner.as_json:
        notes.print(result.line)
    for remark in result.remarks:
        notes.print(f"{source}: {remark}")


def _tell_failure(source: Path, reason: str, manner: Manner) -> None:
    err.print(f"{source}: {reason}")
    if manner.as_json:
        print_json({"file": label(source), "status": "failed", "error": reason})


def _done(
    sources: Collection[Path],
    one: Callable[[Path], Result | None],
    jobs: int,
    stopped: threading.Event,
) -> Generator[tuple[Path, Callable[[], Result | None]], None, None]:
    """Yield each source with the call that gives its result: now, or from a thread that has it."""
    if jobs == 1:
        for source in sources:
            yield source, partial(one, source)
        return
    from concurrent.futures import ThreadPoolExecutor, as_completed

    with _threads_for(jobs), ThreadPoolExecutor(jobs) as pool:
        try:
            futures = {pool.submit(one, source): source for source in sources}
            for future in as_completed(futures):
                yield futures[future], future.result
        finally:  # too when who takes them has stopped
            stopped.set()
            pool.shutdown(cancel_futures=True)


@contextmanager
def _threads_for(jobs: int) -> Iterator[None]:
    """Share torch's threads among the jobs: more than there are cores would wait for each other."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(max(1, threads // jobs))  # new threads begin with it
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _reason(error: Exception) -> str:
    """Say why a file could not be worked on. A mistake of ours is raised again."""
    from models.errors import CodecError

    from ..images import ImageError

    if isinstance(error, CodecError | ImageError | OSError):
        return str(error)
    if isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and "memory" in str(error)):
        return "not enough memory"  # the second is torch's
    raise error


def finish(tally: Tally, found: Found, manner: Manner) -> None:
    """Sum up what became of a folder, and leave with the exit code that it comes to.

    Args:
        tally: of the work.
        found: the sources.
        manner: whether files of other kinds are named, besides counting them.
    """
    for error in found.unreadable:
        err.print(f"{error.filename}: {error.strerror}")
    tally.failed += len(found.unreadable)
    if found.is_folder:
        notes.print(f"{tally}{_described(found.others, manner.verbose)}")
    if tally.exit_code:
        raise typer.Exit(tally.exit_code)


def _described(others: list[Path], verbose: bool) -> str:
    if not others:
        return ""
    if verbose:
        notes.print("\n".join(f"{file}: of another kind, left alone" for file in others))
    files = "1 file" if len(others) == 1 else f"{len(others)} files"
    return f"; {files} of other kinds left alone" + ("" if verbose else " (--verbose names them)")


class _StoppedError(Exception):
    """The work was interrupted from the keyboard, in another thread."""


class _EffortBar(Progress):
    """Moves the bar of a file, and says after the first iteration how long the others will take.

    It keeps silent when that is less than ANNOUNCED_SECONDS.
    """

    def __init__(self, source: Path, shown: bars.Progress, stopped: threading.Event) -> None:
        self._source = source
        self._shown = shown
        self._bar = shown.add_task("Refining", visible=False)
        self._stopped = stopped
        self._begun: float | None = None

    def pause(self) -> None:
        """End the work once somebody has interrupted it."""
        if self._stopped.is_set():
            raise _StoppedError

    def advance(self, done: int, of: int) -> bool:
        """Move the bar; end the work only where `pause` does."""
        self.pause()
        self._shown.update(self._bar, completed=done, total=of, visible=done < of)
        if done == 0:
            self._begun = time.monotonic()
        elif self._begun is not None:
            seconds = (time.monotonic() - self._begun) / done * (of - done)
            if seconds >= ANNOUNCED_SECONDS:
                left = f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
                notes.print(f"{self._source}: refining takes about {left} more")
            self._begun = None
        return True

    def remove(self) -> None:
        """Take the bar away."""
        self._shown.remove_task(self._bar)
