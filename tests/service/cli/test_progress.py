"""Work through many files: the bar for effort, and what becomes of a file that fails."""

from __future__ import annotations

import contextlib
import inspect
import io
import re
import time
from pathlib import Path

import pytest
import typer

from models.errors import SourceError
from models.progress import Progress
from service import images
from service.cli.console import Manner
from service.cli.paths import Found
from service.cli.progress import Outcome, Result, Tally, finish, work_through
from service.images import ImageError


def image_errors() -> list[type[Exception]]:
    """Every typed error of an image file that takes a text."""
    kinds = [kind for _, kind in inspect.getmembers(images, inspect.isclass) if issubclass(kind, ImageError)]
    return [kind for kind in kinds if kind.__init__ is Exception.__init__]


def test_effort_that_takes_long_is_announced_once() -> None:
    def work(source: Path, progress: Progress) -> None:
        of = 10 if source.name == "small" else 100_000
        for done in (0, 1, 2, of):
            time.sleep(0.005)
            assert progress.advance(done, of)

    with contextlib.redirect_stderr(io.StringIO()) as told:
        assert work_through([Path("small"), Path("large")], work, "Compressing") == Tally(done=2)
    assert re.fullmatch(r"large: refining takes about \d+ min more\n", told.getvalue())


@pytest.mark.parametrize(
    "error",
    [*(kind("no picture") for kind in image_errors()), SourceError("no quantiser"), OSError("no disk")],
)
def test_a_file_that_fails_is_told_and_the_others_are_done(
    capsys: pytest.CaptureFixture[str], error: Exception
) -> None:
    done: list[Path] = []

    def work(source: Path, _: Progress) -> None:
        if source.name == "bad":
            raise error
        done.append(source)

    tally = work_through([Path("first"), Path("bad"), Path("last")], work, "Compressing")
    assert tally == Tally(done=2, failed=1)
    assert tally.exit_code == 1
    assert done == [Path("first"), Path("last")]
    assert capsys.readouterr().err == f"bad: {error}\n"


def test_a_mistake_of_ours_is_not_taken_for_a_bad_file() -> None:
    def work(source: Path, _: Progress) -> None:
        raise KeyError(source)

    with pytest.raises(KeyError):
        work_through([Path("file")], work, "Compressing")


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory")])
def test_a_picture_too_large_for_the_memory_is_told(
    capsys: pytest.CaptureFixture[str], error: Exception
) -> None:
    def work(source: Path, _: Progress) -> None:
        raise error

    assert work_through([Path("huge")], work, "Compressing") == Tally(failed=1)
    assert capsys.readouterr().err == "huge: not enough memory\n"


@pytest.mark.parametrize("goes_on", [True, False])
def test_an_interruption_says_where_and_whether_the_next_run_goes_on(
    capsys: pytest.CaptureFixture[str], goes_on: bool
) -> None:
    def work(source: Path, _: Progress) -> None:
        if source.name == "second":
            raise KeyboardInterrupt

    with pytest.raises(typer.Exit) as left:
        work_through([Path("first"), Path("second")], work, "Compressing", goes_on=goes_on)
    assert left.value.exit_code == 130
    told = capsys.readouterr().err
    assert told.startswith("interrupted at second: 1 done of 2")
    assert ("the same command goes on" in told) == goes_on


def test_outcomes_are_counted_and_the_worst_is_the_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    outcomes = {
        Path("a"): None,
        Path("b"): Result(Outcome.DONE | Outcome.OVER),
        Path("c"): Result(Outcome.DONE_BEFORE),
        Path("d"): Result(Outcome.OVER),
    }
    tally = work_through(outcomes, lambda source, _: outcomes[source], "Compressing")
    assert tally == Tally(done=2, done_before=1, over=2)
    assert tally.exit_code == 3
    assert Tally(over=1, failed=1).exit_code == 1
    found = Found(dict.fromkeys(outcomes, Path()), others=[Path("notes.txt")], is_folder=True)
    for verbose in (False, True):
        with pytest.raises(typer.Exit):
            finish(tally, found, Manner(verbose=verbose))
        told = capsys.readouterr().err
        assert "2 done, 1 done before, 2 over budget; 1 file of other kinds" in told
        assert ("notes.txt" in told) == verbose


def test_a_folder_that_cannot_be_searched_is_a_failure(capsys: pytest.CaptureFixture[str]) -> None:
    found = Found({}, unreadable=[PermissionError(13, "Permission denied", "private")], is_folder=True)
    with pytest.raises(typer.Exit) as left:
        finish(Tally(done=1), found, Manner())
    assert left.value.exit_code == 1
    assert "private: Permission denied" in capsys.readouterr().err
