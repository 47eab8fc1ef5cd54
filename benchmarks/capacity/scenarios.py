"""Scenarios: the runs of the model that the page shows, and the sums that need no simulation."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from benchmarks.capacity import autoscale
from benchmarks.capacity.autoscale import Array, Day, Scaler
from benchmarks.capacity.inputs import RESULTS, Costs, Inputs, Machine
from benchmarks.capacity.simulation import Kind, Outcome, Pictures, Policy, Sizes, Store, poisson, simulate

COUNTS = (10, 100, 1000)
LOADS = (0.5, 0.7, 0.8, 0.9, 0.95)
LEAST_REQUESTS = 60_000
WARM_UP = 0.3  # share of a run that does not count


@dataclass(frozen=True, slots=True)
class Point:
    """A cluster under a steady load.

    Attributes:
        machine: name of the kind.
        count: machines.
        load: requests a second over what the machines carry.
        policy: of the balancers.
        balancers: number of them.
        outcome: of the requests after warming up.
    """

    machine: str
    count: int
    load: float
    policy: Policy
    balancers: int
    outcome: Outcome


def steady(
    machine: Machine,
    count: int,
    load: float,
    sizes: Sizes,
    store: Store,
    *,
    policy: Policy = "least",
    balancers: int = 1,
    requests: int = LEAST_REQUESTS,
    seed: int = 0,
) -> Point:
    """Offer Poisson arrivals at a share of the capacity, from empty."""
    replicas = count * machine.processes
    requests = max(requests, 24 * replicas * machine.kind.lanes)
    seconds = requests / (load * count * machine.capacity(sizes))
    random = np.random.default_rng(seed)
    pictures = sizes.draw(poisson([(seconds, requests / seconds)], random), random)
    outcome = simulate(
        machine.kind, replicas, pictures, policy=policy, balancers=balancers, store=store, seed=seed
    )
    return Point(machine.name, count, load, policy, balancers, outcome.between(WARM_UP * seconds))


def latencies(machines: Sequence[Machine], sizes: Sizes, store: Store) -> Iterator[Point]:
    """Run clusters of all sizes at all loads."""
    for machine in machines:
        for count in COUNTS:
            for load in LOADS:
                yield steady(machine, count, load, sizes, store)


def policies(machine: Machine, sizes: Sizes, store: Store) -> Iterator[Point]:
    """Run twenty machines behind balancers of all kinds.

    Queues that do not share their work take long to settle, the longer the fuller: hence no more
    machines, no more load, and enough requests for a hundred services of each lane and more.
    """
    compared: dict[Policy, tuple[int, ...]] = {
        "least": (1, 4, 16, 64),
        "two choices": (1, 16),
        "round robin": (1, 16),
        "random": (1,),
    }
    for policy, numbers in compared.items():
        for balancers in numbers:
            for load in LOADS[:-1]:
                lanes = 20 * machine.processes * machine.kind.lanes
                requests = max(LEAST_REQUESTS, 400 * lanes)
                yield steady(
                    machine, 20, load, sizes, store, policy=policy, balancers=balancers, requests=requests
                )


@dataclass(frozen=True, slots=True)
class Burst:
    """A burst of a minute, and what those who came in it and after it saw.

    Attributes:
        before: load before and after, over the capacity.
        factor: by which it rises.
        p99: seconds, of those who came from its begin until it was half a minute over.
        refused: share of these that got 429.
    """

    before: float
    factor: float
    p99: float
    refused: float


def bursts(machine: Machine, sizes: Sizes, store: Store, *, seconds: float = 60) -> Iterator[Burst]:
    """Let bursts come over ten machines whose number does not change."""
    capacity = 10 * machine.capacity(sizes)
    for before in (0.3, 0.5, 0.7):
        for factor in (1.5, 2.0, 3.0, 5.0):
            random = np.random.default_rng(0)
            rate = before * capacity
            at = poisson([(20, rate), (seconds, factor * rate), (40, rate)], random)
            outcome = simulate(machine.kind, 10 * machine.processes, sizes.draw(at, random), store=store)
            hit = outcome.between(20, 20 + seconds + 30)
            yield Burst(before, factor, hit.percentile(99), hit.refused)


def scalers(given: Inputs, most: int) -> list[Scaler]:
    """List the rules that are compared, with at most so many replicas."""
    start = given.node_seconds + given.pull_seconds + given.ready_seconds
    hpa = Scaler(
        "HPA, queued pixels",
        0.7,
        period=given.hpa_seconds,
        window=given.scrape_seconds,
        down_after=given.hpa_down_seconds,
        tolerance=given.hpa_tolerance,
        start=start,
        most=most,
    )
    calm = replace(hpa, name="HPA, queued pixels, at most a quarter more each time", growth=1.25)
    there = replace(calm, name="HPA, queued pixels, nodes and images there", start=given.ready_seconds + 5)
    ray = replace(
        hpa,
        name="Ray Serve, ongoing requests",
        period=1,
        window=given.ray_window_seconds,
        up_after=given.ray_window_seconds,
        down_after=given.ray_down_seconds,
        growth=1e6,
        tolerance=0.0,
    )
    processor = replace(hpa, name="HPA, processor", sees_queue=False)
    targets = (0.7, 0.5)
    return [replace(rule, target=target) for rule in (processor, hpa, calm, there, ray) for target in targets]


@dataclass(frozen=True, slots=True)
class Scaled:
    """A day under a rule."""

    scaler: Scaler
    day: Day


def days(given: Inputs, machine: Machine, sizes: Sizes) -> tuple[Array, list[Scaled]]:
    """Let every rule follow the same day of a hundred machines' work in the mean."""
    replica = machine.capacity(sizes) * sizes.mean_mp  # MP/s of one machine
    load = autoscale.curve(100 * replica)
    inside = machine.kind.lane_seconds(sizes.mean_mp) + given.store_median
    room = machine.kind.room_mp * machine.processes
    most = int(np.ceil(load.max() / replica / given.planned_load))
    fixed = Scaler("as many as the highest second needs", given.planned_load, least=most, most=most)
    rules = [fixed, *scalers(given, most)]
    return load / replica, [Scaled(rule, autoscale.run(load, rule, replica, room, inside)) for rule in rules]


@dataclass(frozen=True, slots=True)
class Needs:
    """What so many machines at the planned load ask of what stands around them.

    Attributes:
        machines: number of them.
        requests: a second.
        megapixels: a second.
        gbit: a second, of bodies, into the balancers.
        balancer_cores: that HAProxy is busy on.
        balancers: machines for it, by cores or by network.
        prefixes: that the store must have split streams over.
        scraped: megabytes of metrics a second.
        messages: a second to and from Ray's controller.
        pass_micros: microseconds that it has for each replica in a pass of its loop.
        dollars: an hour.
    """

    machines: int
    requests: float
    megapixels: float
    gbit: float
    balancer_cores: float
    balancers: float
    prefixes: float
    scraped: float
    messages: float
    pass_micros: float
    dollars: float


def needs(given: Inputs, measured: Costs, machine: Machine, count: int, sizes: Sizes) -> Needs:
    """Add up what so many machines need."""
    requests = given.planned_load * count * machine.capacity(sizes)
    gigabytes = requests * sizes.mean_mb / 1e3
    cores = (
        requests * measured.spent["haproxy, us a request"] / 1e6
        + gigabytes * measured.spent["haproxy, s/GB of bodies"]
    )
    processes = count * machine.processes
    return Needs(
        count,
        requests,
        requests * sizes.mean_mp,
        8 * gigabytes,
        cores,
        max(cores / given.balancer_cores, 8 * gigabytes / given.balancer_gbit) / given.balancer_load,
        requests / given.puts_per_prefix,
        processes * measured.spent["metrics, kB"] / 1e3 / given.scrape_seconds,
        processes * (2 / given.ray_health_seconds + 1 / given.ray_push_seconds),
        1e6 * given.ray_loop_seconds / processes,
        count * machine.dollars,
    )


@dataclass(frozen=True, slots=True)
class Checked:
    """A step of `load.json` beside the model of it.

    Attributes:
        offered: requests a second, at a constant rate.
        measured: answered a second, and the seconds of p50 and p99.
        modelled: the same.
    """

    offered: float
    measured: tuple[float, float, float]
    modelled: tuple[float, float, float]


def checked(*, highest: bool) -> list[Checked]:
    """Simulate the load benchmark: two lanes, constant arrivals.

    Three numbers are taken from it: the latency and its spread at the lightest load, and the most
    that was answered, in any step (`highest`) or in the one that was overloaded. All others are the
    model's.
    """
    steps = json.loads((RESULTS / "load.json").read_text())["steps"]
    light = steps[0]["load"]
    most = max(step["throughput"] for step in steps) if highest else steps[-1]["throughput"]
    lane = 2 / most
    outside = max(0.0, light["p50_ms"] / 1e3 - lane)
    spread = np.log(light["p95_ms"] / light["p50_ms"]) / 1.645
    found = []
    for step in steps:
        count = step["load"]["requests"]
        at = np.arange(count) / step["offered"]
        mp = 1e-3 * lane * np.exp(spread * np.random.default_rng(0).standard_normal(count))
        pictures = Pictures(at, mp, np.arange(count), np.zeros(count))
        outcome = simulate(
            Kind(lanes=2, pixels=1e3), 1, pictures, store=Store(max(outside, 1e-6), max(outside, 1e-6))
        )
        seconds = float((outcome.at + outcome.seconds).max())
        found.append(
            Checked(
                step["offered"],
                (step["throughput"], step["load"]["p50_ms"] / 1e3, step["load"]["p99_ms"] / 1e3),
                (count / seconds, outcome.percentile(50), outcome.percentile(99)),
            )
        )
    return found
