"""The simulation agrees with queueing theory where that has an answer, and batches as ours does."""

from __future__ import annotations

from collections.abc import Callable
from math import factorial

import numpy as np
import numpy.typing as npt
import pytest

from benchmarks.capacity.simulation import (
    Kind,
    Outcome,
    Pictures,
    Policy,
    Sizes,
    Store,
    poisson,
    simulate,
)

REQUESTS = 20_000
UNIT = 1e-3  # megapixels that take a second

Draw = Callable[[np.random.Generator], npt.NDArray[np.float64]]


def pictures(rate: float, service: npt.NDArray[np.float64], seed: int = 1) -> Pictures:
    """Poisson arrivals, each of its own shape, of so many seconds of work."""
    gaps = np.random.default_rng(seed).exponential(1 / rate, len(service))
    return Pictures(np.cumsum(gaps), service * UNIT, np.arange(len(service)), np.zeros(len(service)))


def waiting(outcome: Outcome, service: npt.NDArray[np.float64]) -> tuple[float, float]:
    """The mean wait and its standard error, by means of 20 batches, without a tenth to warm up."""
    waits = (outcome.seconds - service)[len(service) // 10 :]
    means = [part.mean() for part in np.array_split(waits, 20)]
    return float(np.mean(means)), float(np.std(means, ddof=1) / 20**0.5)


def exponential(random: np.random.Generator) -> npt.NDArray[np.float64]:
    return random.exponential(1.0, REQUESTS)


def fixed(random: np.random.Generator) -> npt.NDArray[np.float64]:
    return np.ones(REQUESTS)


def mixed(random: np.random.Generator) -> npt.NDArray[np.float64]:
    return random.choice([0.2, 3.4], REQUESTS, p=[0.75, 0.25])  # of mean 1


@pytest.mark.parametrize("draw", [exponential, fixed, mixed])
@pytest.mark.parametrize("load", [0.5, 0.8])
def test_one_lane_waits_as_pollaczek_and_khinchine_say(draw: Draw, load: float) -> None:
    service = draw(np.random.default_rng(0))
    outcome = simulate(Kind(pixels=1 / UNIT), 1, pictures(load, service))
    mean, error = waiting(outcome, service)
    expected = load * np.mean(service**2) / 2 / (1 - load * np.mean(service))
    assert mean == pytest.approx(expected, abs=4 * error)
    assert outcome.busy == pytest.approx(load, abs=0.02)


def erlang_c(servers: int, offered: float) -> float:
    """The probability of waiting in M/M/k."""
    last = offered**servers / factorial(servers) * servers / (servers - offered)
    return last / (sum(offered**k / factorial(k) for k in range(servers)) + last)


@pytest.mark.parametrize(("lanes", "replicas"), [(4, 1), (16, 1)])
def test_several_lanes_wait_as_erlang_says(lanes: int, replicas: int) -> None:
    offered = 0.85 * lanes
    service = exponential(np.random.default_rng(0))
    outcome = simulate(Kind(lanes=lanes, pixels=1 / UNIT), replicas, pictures(offered, service))
    mean, error = waiting(outcome, service)
    assert mean == pytest.approx(erlang_c(lanes, offered) / (lanes - offered), abs=4 * error)


def test_random_replicas_are_as_many_queues_of_their_own() -> None:
    service = exponential(np.random.default_rng(0))
    outcome = simulate(Kind(pixels=1 / UNIT), 5, pictures(5 * 0.7, service), policy="random")
    mean, error = waiting(outcome, service)
    assert mean == pytest.approx(0.7 / 0.3, abs=4 * error)


def test_who_knows_more_waits_less() -> None:
    service = exponential(np.random.default_rng(0))[:8000]
    policies: list[Policy] = ["least", "two choices", "round robin", "random"]
    waits = [
        waiting(simulate(Kind(pixels=1 / UNIT), 10, pictures(8, service), policy=policy), service)[0]
        for policy in policies
    ]
    assert waits == sorted(waits)
    several = simulate(Kind(pixels=1 / UNIT), 10, pictures(8, service), balancers=8)
    assert waits[0] < waiting(several, service)[0] < waits[-1]


def at_once(mp: list[float], shape: list[int]) -> Pictures:
    """Pictures that arrive one microsecond after the other."""
    count = len(mp)
    return Pictures(np.arange(count, dtype=np.float64) * 1e-6, np.array(mp), np.array(shape), np.zeros(count))


def test_the_oldest_heads_a_batch_and_its_shape_joins_it() -> None:
    kind = Kind(batch=1.0, request=0.1, batch_mp=0.4)
    outcome = simulate(kind, 1, at_once([0.1] * 6, [7, 8, 9, 8, 8, 9]))
    # 7 alone; then the 8s together, though the first 9 is older than two of them; then the 9s.
    assert outcome.seconds == pytest.approx([1.1, 2.4, 3.6, 2.4, 2.4, 3.6], abs=1e-4)
    assert outcome.batches == 3


def test_a_batch_is_no_larger_than_its_budget() -> None:
    outcome = simulate(Kind(batch=1.0, batch_mp=0.25), 1, at_once([0.1] * 5, [1] * 5))
    assert outcome.seconds == pytest.approx([1, 2, 2, 3, 3], abs=1e-4)


def test_small_pictures_go_between_the_slices_of_a_large_one() -> None:
    outcome = simulate(Kind(pixels=0.1, large_pixels=1.0), 1, at_once([5.0, 1.0, 1.0], [1, 2, 3]))
    assert outcome.seconds == pytest.approx([5.2, 1.1, 2.2], abs=1e-4)


def test_what_has_no_room_is_refused_and_one_alone_always_enters() -> None:
    kind = Kind(batch=1.0, room_mp=1.0)
    assert simulate(kind, 1, at_once([0.6, 0.6, 0.4, 9.0, 9.0], [1, 2, 3, 4, 5])).refused == 0.4
    assert simulate(Kind(batch=1.0, room_requests=2), 1, at_once([1.0] * 5, [1] * 5)).refused == 0.6


def test_the_loop_readers_and_coders_are_stations_of_their_own() -> None:
    kind = Kind(lanes=9, loop=0.5, loop_mb=1.0, readers=1, read_mp=1.0, coders=1, code_mp=2.0)
    outcome = simulate(kind, 1, at_once([1.0, 1.0], [1, 2]))
    # The loop ends at 0.5 and 1; the reader at 1.5 and 2.5; the coder at 3.5 and 5.5.
    assert outcome.seconds == pytest.approx([3.5, 5.5], abs=1e-4)


def test_the_store_takes_its_time_and_so_many_a_second() -> None:
    random = np.random.default_rng(0)
    drawn = Store(median=0.05, p99=0.2).seconds(50_000, random)
    assert np.percentile(drawn, [50, 99]) == pytest.approx([0.05, 0.2], rel=0.05)
    outcome = simulate(Kind(lanes=9), 1, at_once([1.0] * 4, [1, 2, 3, 4]), store=Store(puts=2))
    assert outcome.seconds == pytest.approx([0.5, 1.0, 1.5, 2.0], abs=1e-4)


def test_a_seed_repeats_itself_and_arrivals_have_their_rates() -> None:
    sizes = Sizes([(3, 0.1, 2.0, 5), (1, 0.5, 1.0, 2)])
    assert sizes.mean_mp == pytest.approx(0.2)
    assert sizes.mean_mb == pytest.approx((3 * 0.025 + 0.0625) / 4)
    runs = []
    for _ in range(2):
        random = np.random.default_rng(3)
        drawn = sizes.draw(poisson([(100, 20), (100, 60)], random), random)
        runs.append(simulate(Kind(batch=0.1), 3, drawn, balancers=2, policy="two choices", seed=4).seconds)
        assert [np.sum(drawn.at < 100), np.sum(drawn.at >= 100)] == pytest.approx([2000, 6000], rel=0.1)
        assert drawn.mp.mean() == pytest.approx(sizes.mean_mp, rel=0.05)
        assert len(set(drawn.shape)) == 7
    assert np.array_equal(runs[0], runs[1])
