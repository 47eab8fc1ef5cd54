"""Progress: how long work tells its caller how far it is, and learns whether to go on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

_Part = TypeVar("_Part")


class Progress:
    """Follows one piece of long work; this one never ends it. Override its methods to do so."""

    def pause(self) -> None:
        """Let others have the processor for a while, in the middle of the work.

        It is called every part of a second or so: between two tiles, and between two layers of the
        network. Whatever it raises ends the work, without a result.
        """

    def advance(self, done: int, of: int) -> bool:
        """Take note that `done` of `of` iterations are done.

        Returns:
            False to end the work with the next iteration. Its result is valid all the same.
        """
        return True

    def affords(self, iterations: int) -> bool:
        """Say whether there is time for so many iterations more, after all that were announced."""
        return True


UNINTERRUPTED = Progress()
"""Follows work that nobody ends and nobody waits beside."""


def with_pauses(parts: Iterable[_Part], progress: Progress) -> Iterator[_Part]:
    """Yield the parts of a piece of work, with a pause before each but the first."""
    for number, part in enumerate(parts):
        if number:
            progress.pause()
        yield part


class PartOf(Progress):
    """Part `number` of `count` equal parts of a whole: tells the whole's progress how far the whole
    is.
    """

    def __init__(self, whole: Progress, number: int, count: int) -> None:
        self._whole = whole
        self._number = number
        self._count = count

    def pause(self) -> None:
        """Pause as the whole does."""
        self._whole.pause()

    def advance(self, done: int, of: int) -> bool:
        """Take note of the part's iterations as iterations of the whole."""
        return self._whole.advance(self._number * of + done, self._count * of)

    def affords(self, iterations: int) -> bool:
        """Ask the whole."""
        return self._whole.affords(iterations)


class Repeated(Progress):
    """Work done a second time, beyond what was announced: goes on while there is time for what is
    left of it.
    """

    def __init__(self, first: Progress) -> None:
        self._first = first

    def pause(self) -> None:
        """Pause as the first does."""
        self._first.pause()

    def advance(self, done: int, of: int) -> bool:
        """Ask for time for the iterations that are left."""
        return self._first.affords(of - done)

    def affords(self, iterations: int) -> bool:
        """Ask the first."""
        return self._first.affords(iterations)


class Stretch(Progress):
    """Some of the iterations of a whole: those from `start` on, of `of`."""

    def __init__(self, whole: Progress, start: int, of: int) -> None:
        self._whole = whole
        self._start = start
        self._of = of

    def pause(self) -> None:
        """Pause as the whole does."""
        self._whole.pause()

    def advance(self, done: int, of: int) -> bool:
        """Take note of the iterations as those of the whole."""
        return self._whole.advance(self._start + done, self._of)

    def affords(self, iterations: int) -> bool:
        """Ask the whole."""
        return self._whole.affords(iterations)
