"""Progress: parts tell the whole how far it is, and the whole may end them."""

from __future__ import annotations

from models.progress import UNINTERRUPTED, PartOf, Progress, Repeated, Stretch, with_pauses


class Told(Progress):
    """Remembers everything; allows `most` iterations."""

    def __init__(self, most: float) -> None:
        self.advanced: list[tuple[int, int]] = []
        self.asked: list[int] = []
        self.pauses = 0
        self._most = most

    def pause(self) -> None:
        self.pauses += 1

    def advance(self, done: int, of: int) -> bool:
        self.advanced.append((done, of))
        return done < self._most

    def affords(self, iterations: int) -> bool:
        self.asked.append(iterations)
        return iterations <= self._most


def test_plain_progress_never_ends_anything() -> None:
    assert Progress().advance(10**9, 10**9)
    assert Progress().affords(10**9)


def test_the_second_of_three_parts_begins_at_a_third() -> None:
    whole = Told(most=6)
    second = PartOf(whole, 1, 3)
    assert [second.advance(done, 4) for done in range(5)] == [True, True, False, False, False]
    assert whole.advanced == [(4, 12), (5, 12), (6, 12), (7, 12), (8, 12)]
    assert second.affords(3)
    assert whole.asked == [3]


def test_parts_nest() -> None:
    whole = Told(most=100)
    PartOf(PartOf(whole, 1, 2), 1, 3).advance(2, 5)
    assert whole.advanced == [(15 + 5 + 2, 30)]


def test_a_stretch_counts_on_from_where_it_starts() -> None:
    whole = Told(most=9)
    stretch = Stretch(whole, 6, 8)
    assert stretch.advance(2, 2)
    assert whole.advanced == [(8, 8)]
    assert not stretch.affords(10)


def test_work_done_again_goes_on_while_there_is_time_for_the_rest() -> None:
    first = Told(most=3)
    again = Repeated(first)
    assert [again.advance(done, 5) for done in range(5)] == [False, False, True, True, True]
    assert first.asked == [5, 4, 3, 2, 1]
    assert first.advanced == []
    assert again.affords(2)


def test_parts_pause_as_the_whole_does() -> None:
    whole = Told(most=6)
    for part in (PartOf(whole, 1, 3), Repeated(whole), Stretch(whole, 2, 6)):
        part.pause()
    assert whole.pauses == 3
    UNINTERRUPTED.pause()


def test_there_is_a_pause_between_two_parts() -> None:
    whole = Told(most=6)
    pauses = [whole.pauses for _ in with_pauses("abc", whole)]
    assert pauses == [0, 1, 2]
    assert whole.pauses == 2
