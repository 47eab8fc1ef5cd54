"""The smallest stream that is good enough is found, on curves of any shape, in few attempts."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models import Target
from models.rate_control import Score
from models.rate_control.avif_search import LAST_SETTING
from models.rate_control.position import MAX_INDEX
from models.rate_control.quality_search import (
    HYBRID_AXIS,
    MOST_ATTEMPTS,
    MOST_REFINED,
    USUAL_AXIS,
    Attempt,
    Axis,
    QualitySearch,
)

PIXELS = 100_000


@dataclass(frozen=True)
class Made:
    quality: float
    size: int
    scores: dict[Score, float]


def run(
    target: Target, make: Callable[[Attempt], Made], *, effort: bool = False, axis: Axis = USUAL_AXIS
) -> tuple[Made, QualitySearch]:
    search = QualitySearch(target, PIXELS, axis=axis, effort=effort)
    best: Made | None = None
    while (attempt := search.attempt) is not None:
        made = make(attempt)
        if search.observe(made.quality, made.size, made.scores):
            best = made
    assert best is not None
    return best, search


@dataclass(frozen=True)
class Codec:
    """Made of smooth curves; the budget of a target is spent to the byte."""

    shift: float = 0.0
    bend: float = 0.0
    ripple: float = 0.0
    steps: int = MAX_INDEX
    gain: float = 1.04  # of the size, by effort

    def at(self, quality: float, *, refined: bool = False) -> Made:
        t = round(quality / 100 * self.steps) / self.steps
        size = 1_000 * math.exp(4 * t + self.shift)
        lost = -5 - 3 * t + self.bend * math.sin(3 * t) + self.ripple * math.sin(900 * t) + self.shift
        psnr = -10 * lost / math.log(10)
        scores: dict[Score, float] = {
            "psnr": psnr,
            "ms-ssim": 1 - math.exp(lost + 3.5),
            "ssimulacra2": 100 - 100 * math.exp(0.6 * (lost + 5.5)),
        }
        return Made(100 * t, int(size / (self.gain if refined else 1)), scores)

    def __call__(self, attempt: Attempt) -> Made:
        quality = attempt.target.quality
        if quality is None:
            budget = attempt.target.budget(PIXELS) or 0
            quality = 100 * min(max((math.log(max(budget, 1) / 1_000) - self.shift) / 4, 0), 1)
            quality = math.floor(quality / 100 * self.steps) * 100 / self.steps
        return self.at(quality, refined=attempt.refined)

    def smallest(self, target: Target) -> Made:
        """By bisection; without ripples."""
        low, high = 0, self.steps
        while low < high:
            middle = (low + high) // 2
            low, high = (
                (low, middle) if reaches(self.at(100 * middle / self.steps), target) else (middle + 1, high)
            )
        return self.at(100 * low / self.steps)


def reaches(made: Made, target: Target) -> bool:
    return all(made.scores[score] >= value for score, value in target.minima.items())


@settings(max_examples=40)
@given(
    shift=st.floats(-1, 1),
    bend=st.floats(-0.4, 0.4),
    at=st.floats(3, 97),
    minima=st.sets(st.sampled_from(["min_psnr", "min_ms_ssim", "min_ssimulacra2"]), min_size=1),
    steps=st.sampled_from([MAX_INDEX, LAST_SETTING]),
)
def test_the_smallest_that_reaches_all_minima_is_found(
    shift: float, bend: float, at: float, minima: set[str], steps: int
) -> None:
    codec = Codec(shift, bend, steps=steps)
    scores = codec.at(at).scores
    reached = {
        "min_psnr": scores["psnr"] - 0.3,
        "min_ms_ssim": scores["ms-ssim"] - 0.001,
        "min_ssimulacra2": scores["ssimulacra2"] - 0.2,
    }
    values = {name: reached[name] for name in minima}
    if any(not 0 <= value < 100 for value in values.values()):
        return
    target = Target(**values)  # type: ignore[arg-type]  # names of minima
    best, search = run(target, codec, axis=HYBRID_AXIS if steps == LAST_SETTING else USUAL_AXIS)
    assert search.met
    assert reaches(best, target)
    assert best.size <= 1.03 * codec.smallest(target).size + 8
    assert search.attempts <= MOST_ATTEMPTS


@settings(max_examples=40)
@given(ripple=st.floats(0, 0.3), at=st.floats(3, 97))
def test_a_curve_that_is_not_monotone_costs_bytes_and_never_quality(ripple: float, at: float) -> None:
    target = Target(min_psnr=Codec().at(at).scores["psnr"])
    best, search = run(target, Codec(ripple=ripple))
    assert search.met == reaches(best, target)
    assert search.met or ripple > 0


def test_a_usual_picture_takes_few_attempts() -> None:
    counts = [
        run(Target(min_ms_ssim=Codec().at(at).scores["ms-ssim"]), Codec())[1].attempts
        for at in range(5, 96, 5)
    ]
    assert sum(counts) / len(counts) < 4


def test_minima_out_of_reach_end_with_the_nearest_stream() -> None:
    best, search = run(Target(min_psnr=60), Codec())
    assert (best.quality, search.met) == (100, False)
    assert search.attempts <= 2


@pytest.mark.parametrize("budget", [None, 200_000])
def test_a_curve_that_falls_at_its_end_is_looked_at_below_it(budget: int | None) -> None:
    def make(attempt: Attempt) -> Made:
        made = Codec()(attempt)
        fallen = 0.2 * max(made.quality - 98, 0)
        return Made(made.quality, made.size, {"psnr": made.scores["psnr"] - fallen})

    most = Codec().at(98.5).scores["psnr"] - 0.1
    assert make(Attempt(Target(quality=100), False)).scores["psnr"] < most
    best, search = run(Target(max_bytes=budget, min_psnr=most), make)
    assert search.met
    assert 97 < best.quality < 100


def test_what_even_the_coarsest_reaches_is_the_coarsest() -> None:
    best, search = run(Target(min_psnr=1), Codec())
    assert (best.quality, search.met, search.attempts) == (0, True, 1)


def test_no_budget_is_exceeded_for_the_sake_of_minima() -> None:
    good = Codec().at(60)
    within, search = run(Target(max_bytes=2 * good.size, min_psnr=good.scores["psnr"]), Codec())
    assert search.met
    assert good.size <= within.size <= 1.03 * good.size
    spent, search = run(Target(max_bytes=good.size // 2, min_psnr=good.scores["psnr"]), Codec())
    assert (search.met, search.attempts) == (False, 1)
    assert 0.99 * good.size / 2 < spent.size <= good.size / 2
    smallest, search = run(Target(max_bytes=10, min_psnr=1), Codec())
    assert (smallest.quality, search.met) == (0, False)


def test_effort_comes_last_and_only_a_smaller_stream_is_taken() -> None:
    target = Target(min_psnr=Codec().at(60).scores["psnr"])
    plain, _ = run(target, Codec())
    refined, search = run(target, Codec(gain=1.1), effort=True)
    assert search.met
    assert refined.size < 0.95 * plain.size
    assert 1 <= search.part[0] <= MOST_REFINED
    assert run(target, Codec(gain=0.9), effort=True)[0] == plain
    budget = Target(max_bytes=Codec().at(60).size - 100, min_psnr=target.min_psnr)
    assert not run(budget, Codec())[1].met

    def better(attempt: Attempt) -> Made:
        made = Codec()(attempt)
        return Made(made.quality, made.size, {"psnr": made.scores["psnr"] + attempt.refined})

    best, search = run(budget, better, effort=True)
    assert search.met
    assert budget.max_bytes is not None
    assert best.size < budget.max_bytes


def test_an_exact_picture_has_no_loss() -> None:
    exact: dict[Score, float] = {"psnr": math.inf, "ms-ssim": 1.0000001, "ssimulacra2": 100}
    target = Target(min_psnr=100, min_ms_ssim=0.9999, min_ssimulacra2=99)
    best, search = run(
        target, lambda attempt: Made(attempt.target.quality or 0, Codec()(attempt).size, exact)
    )
    assert (best.quality, search.met) == (0, True)
