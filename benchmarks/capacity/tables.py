"""Tables and plots of the page, from what the scenarios found."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from rich import box
from rich.table import Table

from benchmarks.capacity.autoscale import Array
from benchmarks.capacity.inputs import Costs, Described, Inputs, Machine
from benchmarks.capacity.money import Balance, Coder
from benchmarks.capacity.scenarios import COUNTS, Burst, Checked, Point, Scaled, needs
from benchmarks.capacity.simulation import Sizes
from models.evaluation.plots import OUR_COLOURS, RESOLUTION, new_axes


def table(title: str, headings: Sequence[str], rows: Iterable[Sequence[object]], *, left: int = 1) -> Table:
    """Make a table whose first `left` columns are words."""
    made = Table(title=title, box=box.SIMPLE)
    for number, heading in enumerate(headings):
        made.add_column(heading, justify="left" if number < left else "right")
    for row in rows:
        made.add_row(*map(str, row))
    return made


def big(number: float) -> str:
    """Write a number with three digits that count."""
    if number >= 1e6:
        return f"{number / 1e6:.3g} M"
    if number >= 1000:
        return f"{round(number, 2 - math.floor(math.log10(number))):,.0f}"
    return f"{number:.3g}"


def seconds(number: float) -> str:
    """Write seconds to two digits, from a millisecond on."""
    return f"{number * 1e3:.0f} ms" if number < 1 else f"{number:.1f} s"


def machines_table(given: Inputs, machines: Sequence[Machine], mixtures: Mapping[str, Sizes]) -> Table:
    """Show what limits each machine, by mixture."""
    rows = []
    for machine in machines:
        for name, sizes in mixtures.items():
            limits = machine.limits(sizes)
            capacity = machine.capacity(sizes)
            parts = ", ".join(
                f"{part} {big(rate)}" for part, rate in sorted(limits.items(), key=lambda x: x[1])
            )
            dollars = 1e6 * machine.dollars / 3600 / capacity / given.planned_load
            rows.append(
                (machine.name, name, big(capacity), big(capacity * sizes.mean_mp), f"{dollars:.2f}", parts)
            )
    headings = ("machine", "pictures", "images/s", "MP/s", "$ a million", "images/s of each part")
    made = table("", headings, rows, left=2)
    made.columns[-1].justify = "left"
    return made


def needs_table(given: Inputs, measured: Costs, machines: Sequence[Machine], sizes: Sizes) -> Table:
    """Show what 10, 100 and 1,000 machines carry and need around them."""
    rows = []
    for machine in machines:
        for count in COUNTS:
            need = needs(given, measured, machine, count, sizes)
            rows.append(
                (
                    f"{count:,} x {machine.name}",
                    big(need.requests),
                    f"{need.requests * 86_400 / 1e6:,.0f} M",
                    big(need.gbit),
                    big(need.balancer_cores),
                    math.ceil(need.balancers),
                    math.ceil(need.prefixes),
                    big(need.scraped),
                    big(need.messages),
                    big(need.pass_micros),
                    f"{need.dollars:,.0f}",
                )
            )
    headings = (
        "machines",
        "images/s",
        "a day",
        "Gbit/s in",
        "HAProxy cores",
        "balancers",
        "S3 partitions",
        "metrics, MB/s",
        "Ray messages/s",
        "µs a replica in Ray's loop",
        "$/h",
    )
    return table("", headings, rows)


def ends_table(given: Inputs, measured: Costs, machines: Sequence[Machine], sizes: Sizes) -> Table:
    """Show where each part around the machines ends."""
    one = [needs(given, measured, machine, 1, sizes) for machine in machines]
    a_request = one[0].balancers / one[0].requests
    gbit = one[0].gbit / one[0].requests

    def row(what: str, ends: float, remedy: str) -> tuple[str, ...]:
        counts = [f"{ends / each.requests:,.0f}" for each in one]
        return (what, f"{big(ends)} images/s", f"{big(ends * gbit)} Gbit/s", *counts, remedy)

    def replicas(what: str, most: float, remedy: str) -> tuple[str, ...]:
        counts = [f"{most / machine.processes:,.0f}" for machine in machines]
        return (what, f"{most:,.0f} replicas", "", *counts, remedy)

    loop = machines[-1].limits(sizes)["event loop"]
    rows = [
        row("S3, one partition", given.puts_per_prefix, "wait while S3 splits; it answers 503 meanwhile"),
        row("one balancer", 1 / a_request, "several, by DNS or anycast; each with its own view"),
        row("S3, a partition for each prefix", given.puts_per_prefix * given.prefixes, "longer prefixes"),
        (
            "event loop of one process",
            f"{big(loop)} images/s",
            f"{big(loop * gbit)} Gbit/s",
            *[""] * len(machines),
            "several processes on a machine",
        ),
        replicas(
            f"Ray's controller, {given.ray_replica_micros:g} µs a replica and pass",
            1e6 * given.ray_loop_seconds / given.ray_replica_micros,
            "a longer loop, several clusters",
        ),
        (
            "Kubernetes",
            f"{given.most_nodes:,.0f} nodes",
            "",
            *[f"{given.most_nodes:,.0f}"] * len(machines),
            "several clusters",
        ),
    ]
    headings = ("part", "ends at", "of bodies", *(f"{machine.name}" for machine in machines), "then")
    made = table("", headings, rows)
    made.columns[-1].justify = "left"
    return made


def by_load(
    points: Sequence[Point],
    begin: Sequence[str],
    row: Callable[[Point], tuple[object, ...]],
    *,
    left: int = 1,
) -> Table:
    """Show the p50 and p99 of all loads behind what each row begins with."""
    found: dict[tuple[object, ...], dict[float, str]] = {}
    for point in points:
        p50, p99 = (seconds(point.outcome.percentile(percent)) for percent in (50, 99))
        refused = f", {point.outcome.refused:.0%} refused" if point.outcome.refused else ""
        found.setdefault(row(point), {})[point.load] = f"{p50} / {p99}{refused}"
    loads = dict.fromkeys(point.load for point in points)
    headings = (*begin, *(f"load {load:.0%}" for load in loads))
    return table("p50 / p99", headings, [(*name, *of.values()) for name, of in found.items()], left=left)


def latency_table(points: Sequence[Point]) -> Table:
    """Show latencies by machines and load."""
    return by_load(points, ("machines",), lambda point: (f"{point.count:,} x {point.machine}",))


def policy_table(points: Sequence[Point]) -> Table:
    """Show latencies by machine, balancers and load."""
    return by_load(
        points,
        ("machines", "policy", "balancers"),
        lambda point: (f"{point.count} x {point.machine}", point.policy, point.balancers),
        left=2,
    )


def burst_table(bursts: Sequence[Burst]) -> Table:
    """Show what bursts do, by load before and by factor."""
    factors = list(dict.fromkeys(burst.factor for burst in bursts))
    rows = []
    for before in dict.fromkeys(burst.before for burst in bursts):
        of = {burst.factor: burst for burst in bursts if burst.before == before}
        cells = [
            f"{before * factor:.0%}: {seconds(of[factor].p99)}"
            + (f", {of[factor].refused:.0%} refused" if of[factor].refused else "")
            for factor in factors
        ]
        rows.append((f"{before:.0%}", *cells))
    return table("", ("load before", *(f"x {factor:g}" for factor in factors)), rows)


def days_table(days: Sequence[Scaled], machine: Machine) -> Table:
    """Show what rules cost in a day, and what they refuse."""
    fixed = days[0].day.replica_hours
    rows = [
        (
            each.scaler.name,
            f"{each.scaler.target:.0%}",
            big(each.day.replica_hours),
            f"{each.day.replica_hours / fixed:.0%}",
            f"{each.day.replica_hours * machine.dollars:,.0f}",
            f"{each.day.refused:.2%}",
            f"{(each.day.waited > 1).sum() / 60:.0f} min",
            seconds(float(each.day.waited.max())),
        )
        for each in days
    ]
    headings = (
        "rule",
        "target",
        "machine-hours",
        "of fixed",
        "$",
        "refused",
        "over 1 s of waiting",
        "longest wait",
    )
    return table("", headings, rows)


def coder_table(given: Inputs, coders: Mapping[str, Coder]) -> Table:
    """Show what codecs take on the same cores."""
    rows = [
        (
            coder.name,
            f"{coder.seconds:.3f}",
            f"{coder.dollars:.2f}",
            f"{coder.joules:.2f}",
            f"{coder.joules / 3.6:.2f}",
            f"{coder.joules / 3.6 * given.kwh_dollars:.2f}",
        )
        for coder in coders.values()
    ]
    headings = ("work", "core seconds an image", "$ a million", "J an image", "kWh a million", "$ of that")
    return table("", headings, rows)


def balance_table(balances: Sequence[Balance]) -> Table:
    """Show what a million images cost and save beside others of equal quality."""

    def periods(number: float) -> str:
        if number == 0:
            return "at once"
        if math.isinf(number):
            return "never"
        return f"lost after {-number:.0f}" if number < 0 else f"{number:.1f}"

    rows = [
        (
            each.saving.pictures,
            f"`{each.saving.profile}` {each.saving.model}",
            each.saving.anchor,
            each.saving.metric,
            f"{each.saving.percent:+.1f} %",
            f"{each.ours_gb:.1f} / {each.other_gb:.1f}",
            f"{each.encode:+.2f}",
            f"{each.month:+.2f}",
            f"{each.download:+.2f}",
            periods(each.months),
            periods(each.downloads),
        )
        for each in balances
    ]
    headings = (
        "pictures",
        "ours",
        "against",
        "equal by",
        "bits",
        "GB, ours / theirs",
        "making ours, $",
        "a month saves, $",
        "each download saves, $",
        "months to pay",
        "downloads to pay",
    )
    return table("", headings, rows, left=4)


def check_table(checks: Mapping[str, Sequence[Checked]]) -> Table:
    """Show the load benchmark beside the model of it."""
    names = list(checks)
    rows = []
    for steps in zip(*checks.values(), strict=True):
        cells = [f"{steps[0].offered:.1f}"]
        for figures in (steps[0].measured, *(step.modelled for step in steps)):
            rate, p50, p99 = figures
            cells.append(f"{rate:.1f}, {p50:.2f} s, {p99:.2f} s")
        rows.append(cells)
    headings = ("offered", "measured: answered, p50, p99", *(f"modelled, {name}" for name in names))
    return table("", headings, rows, left=0)


def share_table(given: Inputs, rows: Sequence[tuple[float, Machine]], sizes: Sizes) -> Table:
    """Show what a GPU carries by the share of its peak that networks reach."""
    cells = []
    for share, machine in rows:
        capacity = machine.capacity(sizes)
        dollars = 1e6 * machine.dollars / 3600 / capacity / given.planned_load
        limit = min(machine.limits(sizes).items(), key=lambda part: part[1])[0]
        cells.append((f"{share:.0%}", machine.name, big(capacity), limit, f"{dollars:.2f}"))
    return table("", ("of the peak", "machine", "images/s", "limited by", "$ a million"), cells, left=2)


def inputs_table(found: Sequence[Described]) -> Table:
    """Show every number with its source."""
    rows = [(each.name, f"{each.value:g}", each.unit, each.kind, each.source) for each in found]
    made = table("", ("input", "value", "unit", "kind", "source"), rows, left=5)
    made.columns[1].justify = "right"
    return made


def plot_policies(points: Sequence[Point], path: Path) -> None:
    """Draw p99 against load, by policy and number of balancers."""
    figure, axes = new_axes(f"p99 against load, {points[0].count} x {points[0].machine}")
    colours = dict(zip(dict.fromkeys(point.policy for point in points), OUR_COLOURS, strict=False))
    for policy, balancers in dict.fromkeys((point.policy, point.balancers) for point in points):
        of = [point for point in points if (point.policy, point.balancers) == (policy, balancers)]
        style = {1: "o-", 4: "o-.", 16: "o--"}.get(balancers, "o:")
        label = f"{policy}, {balancers} balancer{'s' * (balancers > 1)}"
        p99 = [point.outcome.percentile(99) for point in of]
        axes.plot([point.load for point in of], p99, style, color=colours[policy], label=label)
    axes.set(xlabel="load over capacity", ylabel="seconds", ylim=(0, None))
    axes.legend(fontsize=8)
    figure.savefig(path, dpi=RESOLUTION)


def plot_day(load: Array, days: Sequence[Scaled], path: Path) -> None:
    """Draw the load of a day in machines, and the machines that some rules have."""
    figure, axes = new_axes("a day: load, and machines")
    hours = np.arange(len(load))[::30] / 3600
    axes.plot(hours, load[::30], color="#4a4a4a", label="load, in machines that are full")
    for colour, each in zip(OUR_COLOURS, days, strict=False):
        label = f"{each.scaler.name}, {each.scaler.target:.0%}"
        axes.plot(hours, each.day.replicas[::30], color=colour, label=label)
    axes.set(xlabel="hour", ylabel="machines", ylim=(0, None))
    axes.legend(fontsize=8)
    figure.savefig(path, dpi=RESOLUTION)
