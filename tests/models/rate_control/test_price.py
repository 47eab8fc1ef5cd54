"""models.rate_control.price"""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.rate_control import Pieces, Price, RateDistortion, SlopeHistogram, allocate


def curve(seed: int) -> RateDistortion:
    """Like a photograph's: about D = a / R^b, measured at seven sizes."""
    random = np.random.default_rng(seed)
    sizes = np.unique(np.rint(random.uniform(100, 4000) * 2.0 ** np.arange(7) * random.uniform(0.9, 1.1, 7)))
    distortions = random.lognormal(0, 1) * (sizes / sizes[0]) ** -random.uniform(0.5, 1.5)
    return RateDistortion.through(list(zip(sizes.astype(int).tolist(), distortions.tolist(), strict=True)))


def price_of(groups: list[Pieces], budget: int) -> Price:
    """The price, from two looks at each group by itself."""
    first = merged([look(group) for group in groups])
    inside, _ = first.runs_out(budget - first.smallest)
    return Price.find(budget, first, merged([look(group, inside) for group in groups]))


def look(pieces: Pieces, inside: int | None = None) -> SlopeHistogram:
    histogram = SlopeHistogram.empty(inside)
    histogram.add(pieces)
    return histogram


def merged(histograms: list[SlopeHistogram]) -> SlopeHistogram:
    total = SlopeHistogram.empty(histograms[0].inside)
    for histogram in histograms:
        total.merge(histogram)
    return total


def distortion(curves: list[RateDistortion], budgets: list[int]) -> float:
    return sum(curve(size) for curve, size in zip(curves, budgets, strict=True))


@given(st.lists(st.integers(0, 10_000), min_size=1, max_size=12), st.floats(0, 1), st.integers(1, 4))
def test_it_spends_a_budget_as_allocate_does(seeds: list[int], share: float, parts: int) -> None:
    curves = [curve(seed) for seed in seeds]
    lowest, highest = (sum(int(curve.sizes[end]) for curve in curves) for end in (0, -1))
    budget = round(lowest + share * (highest - lowest))
    price = price_of([Pieces.of(curves[part::parts]) for part in range(parts)], budget)
    budgets = [price.budget(Pieces.of([curve])) for curve in curves]
    assert price.reach == "within"
    assert budget - len(curves) < sum(budgets) <= budget
    exact = allocate(curves, budget).budgets
    # A byte less for each picture may be missing, at the price of the steepest piece there is.
    dearest = max(float((curve.gains / curve.costs).max()) for curve in curves)
    assert distortion(curves, budgets) <= distortion(curves, list(exact)) * (1 + 1e-5) + len(curves) * dearest
    assert all(curve.sizes[0] <= size <= curve.sizes[-1] for curve, size in zip(curves, budgets, strict=True))


@pytest.mark.parametrize("budget", [10, 10**9])
def test_outside_of_the_range_all_get_their_end_of_it(budget: int) -> None:
    curves = [curve(seed) for seed in range(3)]
    price = price_of([Pieces.of(curves)], budget)
    allocation = allocate(curves, budget)
    assert price.reach == allocation.reach != "within"
    assert tuple(price.budget(Pieces.of([curve])) for curve in curves) == allocation.budgets


def test_equal_pictures_share_what_is_left_between_them() -> None:
    curves = [curve(1)] * 10
    budget = 10 * int(curves[0].sizes[0]) + 12_345
    price = price_of([Pieces.of(curves)], budget)
    budgets = {price.budget(Pieces.of([curve])) for curve in curves}
    assert budgets == {budget // 10}


def test_pictures_without_a_choice_cost_what_they_cost() -> None:
    only = RateDistortion.through([(100, 0.5)])
    price = price_of([Pieces.of([only, only]), Pieces.of([])], 200)
    assert price.reach == "within"
    assert price.budget(Pieces.of([only])) == 100


def test_looks_at_different_bins_do_not_add_up() -> None:
    with pytest.raises(ValueError, match="different looks"):
        SlopeHistogram.empty().merge(SlopeHistogram.empty(3))
    first = look(Pieces.of([curve(1), curve(2)]))
    with pytest.raises(ValueError, match="runs out in"):
        Price.find(first.smallest + 1000, first, SlopeHistogram.empty(0))


def synthetic(chunk: int, count: int) -> tuple[Pieces, np.ndarray]:
    """Pieces of so many convex curves, and the smallest size of each."""
    random = np.random.default_rng(chunk)
    sizes = np.rint(random.uniform(500, 5000, (count, 1)) * 2.0 ** np.arange(7)).astype(np.int64)
    distortions = random.lognormal(0, 1, (count, 1)) * sizes ** -random.uniform(0.5, 1.5, (count, 1))
    costs, gains = np.diff(sizes).ravel(), -np.diff(distortions).ravel()
    return Pieces.from_slopes(int(sizes[:, 0].sum()), costs, gains), sizes[:, 0]


def test_a_million_pictures_take_the_memory_of_two_histograms() -> None:
    chunks, count = 100, 10_000
    tracemalloc.start()
    first = SlopeHistogram.empty()
    for chunk in range(chunks):
        first.add(synthetic(chunk, count)[0])
    budget = first.smallest * 5
    inside, _ = first.runs_out(budget - first.smallest)
    second = SlopeHistogram.empty(inside)
    for chunk in range(chunks):
        second.add(synthetic(chunk, count)[0])
    price = Price.find(budget, first, second)
    held, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    spent = 0
    for chunk in range(chunks):
        pieces, smallest = synthetic(chunk, count)
        bought = np.where(pieces.bins > price.bin, pieces.costs, 0).reshape(count, -1).sum(axis=1)
        here = np.where(pieces.bins == price.bin, pieces.costs, 0).reshape(count, -1).sum(axis=1)
        spent += int((smallest + bought + here * price.left // price.of).sum())
    assert budget - chunks * count < spent <= budget
    assert spent > 0.9999 * budget
    assert held < 200_000  # bytes
    assert most < 20_000_000  # of one chunk of pictures
