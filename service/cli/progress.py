"""Work through many files: progress bars, how long effort takes, a line for each failure, a sum."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from enum import Flag, auto
from pathlib import Path

import typer
from rich import progress as bars

from models.progress import Progress

from .console import ExitCode, err
from .paths import Found

ANNOUNCED_SECONDS = 10  # effort that takes at least as long is announced


class Outcome(Flag):
    """Result of a source that did not fail."""

    DONE = auto()
    DONE_BEFORE = auto()  # by an earlier run
    OVER = auto()  # the smallest stream is over the budget: kept, or else refused


Work = Callable[[Path, Progress], Outcome | None]
"""Does one source, and returns what became of it; None is `DONE`."""


@dataclass(slots=True)
class Tally:
    """How many sources came to what."""

    done: int = 0
    done_before: int = 0
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
        self.over += Outcome.OVER in outcome

    def __str__(self) -> str:
        parts = [f"{self.done} done"]
        parts += [f"{self.done_before} done before"] if self.done_before else []
        parts += [f"{self.failed} failed"] if self.failed else []
        parts += [f"{self.over} over budget"] if self.over else []
        return ", ".join(parts)


def work_through(sources: Collection[Path], work: Work, description: str, *, goes_on: bool = False) -> Tally:
    """Do `work` for each source, with a progress bar for several and one for effort.

    A source that fails gets a line that says why, and the others are still done.

    Args:
        sources: in the order of the work.
        work: does one.
        description: of the work, beside its bar.
        goes_on: the same command would go on from what was done; it is said at an interruption.

    Raises:
        typer.Exit: of an interruption from the keyboard.
    """
    tally = Tally()
    with bars.Progress(console=err, transient=True, disable=not err.is_terminal) as shown:
        files = shown.add_task(description, total=len(sources), visible=len(sources) > 1)
        effort = shown.add_task("Refining", visible=False)

        for source in sources:
            shown.reset(effort, visible=False)
            try:
                tally.count(work(source, _EffortBar(source, shown, effort)) or Outcome.DONE)
            except BrokenPipeError:
                raise  # nobody reads any more
            except Exception as error:
                err.print(f"{source}: {_reason(error)}")
                tally.failed += 1
            except KeyboardInterrupt:
                hint = "; the same command goes on from here" if goes_on else ""
                err.print(f"interrupted at {source}: {tally} of {len(sources)}{hint}")
                raise typer.Exit(ExitCode.INTERRUPTED) from None
            shown.advance(files)
    return tally


def _reason(error: Exception) -> str:
    """Say why a file could not be worked on. A mistake of ours is raised again."""
    from models.errors import CodecError

    from ..images import ImageError

    if isinstance(error, CodecError | ImageError | OSError):
        return str(error)
    if isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and "memory" in str(error)):
        return "not enough memory"  # the second is torch's
    raise error


def finish(tally: Tally, found: Found, *, verbose: bool) -> None:
    """Sum up what became of a folder, and leave with the exit code that it comes to.

    Args:
        tally: of the work.
        found: the sources.
        verbose: name the files of other kinds, besides counting them.
    """
    for error in found.unreadable:
        err.print(f"{error.filename}: {error.strerror}")
    tally.failed += len(found.unreadable)
    if found.is_folder:
        err.print(f"{tally}{_described(found.others, verbose)}")
    if tally.exit_code:
        raise typer.Exit(tally.exit_code)


def _described(others: list[Path], verbose: bool) -> str:
    if not others:
        return ""
    if verbose:
        err.print("\n".join(f"{file}: of another kind, left alone" for file in others))
    files = "1 file" if len(others) == 1 else f"{len(others)} files"
    return f"; {files} of other kinds left alone" + ("" if verbose else " (--verbose names them)")


class _EffortBar(Progress):
    """Moves the bar of a file, and says after the first iteration how long the others will take.

    It keeps silent when that is less than ANNOUNCED_SECONDS.
    """

    def __init__(self, source: Path, shown: bars.Progress, bar: bars.TaskID) -> None:
        self._source = source
        self._shown = shown
        self._bar = bar
        self._begun: float | None = None

    def advance(self, done: int, of: int) -> bool:
        """Move the bar; never end the work."""
        self._shown.update(self._bar, completed=done, total=of, visible=done < of)
        if done == 0:
            self._begun = time.monotonic()
        elif self._begun is not None:
            seconds = (time.monotonic() - self._begun) / done * (of - done)
            if seconds >= ANNOUNCED_SECONDS:
                left = f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
                err.print(f"{self._source}: refining takes about {left} more")
            self._begun = None
        return True
