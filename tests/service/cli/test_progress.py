"""Work through many files: the bar for effort, and what becomes of a file that fails."""

from __future__ import annotations

import contextlib
import io
import re
import time
from pathlib import Path

import pytest

from models.errors import SourceError
from models.progress import Progress
from service.cli.progress import work_through
from service.images import DamagedImageError


def test_effort_that_takes_long_is_announced_once() -> None:
    def work(source: Path, progress: Progress) -> None:
        of = 10 if source.name == "small" else 100_000
        for done in (0, 1, 2, of):
            time.sleep(0.005)
            assert progress.advance(done, of)

    with contextlib.redirect_stderr(io.StringIO()) as told:
        assert work_through([Path("small"), Path("large")], work, "Compressing")
    assert re.fullmatch(r"large: refining takes about \d+ min more\n", told.getvalue())


@pytest.mark.parametrize(
    "error", [SourceError("no quantiser"), DamagedImageError("no picture"), OSError("no disk")]
)
def test_a_file_that_fails_is_told_and_the_others_are_done(
    capsys: pytest.CaptureFixture[str], error: Exception
) -> None:
    done: list[Path] = []

    def work(source: Path, _: Progress) -> None:
        if source.name == "bad":
            raise error
        done.append(source)

    assert not work_through([Path("first"), Path("bad"), Path("last")], work, "Compressing")
    assert done == [Path("first"), Path("last")]
    assert capsys.readouterr().err == f"bad: {error}\n"


def test_a_mistake_of_ours_is_not_taken_for_a_bad_file() -> None:
    def work(source: Path, _: Progress) -> None:
        raise KeyError(source)

    with pytest.raises(KeyError):
        work_through([Path("file")], work, "Compressing")
