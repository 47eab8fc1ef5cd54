"""Capacity: what clusters of this service carry, where they end, and what that costs.

    python -m benchmarks.capacity [--pictures web|uploads] [--set NAME=VALUE ...] [--quick]
        [--output benchmarks/results/capacity]

Prints the tables of `docs/scaling.md`, and writes each as `OUTPUT-NAME.md` and the plots beside
them. Takes about four minutes of one core, and the same numbers come out every time. --set gives
another value to an input of `benchmarks/capacity/inputs.json`: a price, a start time, a share of a
GPU's peak. --quick leaves out the simulations.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.capacity import scenarios, tables
from benchmarks.capacity.inputs import MIXTURES, costs, cpu_machine, described, gpu_machine, inputs
from benchmarks.capacity.money import balance, chosen, coders, savings
from benchmarks.markdown import write_markdown

SHARES = (0.03, 0.1, 0.3)  # of a GPU's peak
DRAWN = (
    "as many as the highest second needs",
    "HPA, processor",
    "HPA, queued pixels, nodes and images there",
)


def main() -> None:
    """Run the program."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--pictures", choices=MIXTURES, default="web", help="mixture of sizes")
    options.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="other inputs")
    options.add_argument("--quick", action="store_true", help="without simulations")
    options.add_argument("--output", type=Path, default=Path("benchmarks/results/capacity"))
    arguments = options.parse_args()
    changes = {name: float(value) for name, value in (change.split("=") for change in arguments.set)}
    for name, made in run(changes, arguments.pictures, arguments.output, quick=arguments.quick).items():
        Console().print(made)
        write_markdown(arguments.output.with_name(f"{arguments.output.name}-{name}.md"), [made])


def run(changes: dict[str, float], pictures: str, output: Path, *, quick: bool) -> dict[str, Table]:
    """Make the tables by name, and draw the plots unless it is to be quick."""
    given, measured, sizes = inputs(changes), costs(), MIXTURES[pictures]
    cpu, gpu = cpu_machine(given, measured), gpu_machine(given, measured)
    large = gpu_machine(given, measured, big=True)
    prices = coders(given, measured, cpu, sizes.mean_mp)
    balances = [
        balance(given, saving, prices, sizes.mean_mp)
        for saving in chosen(savings(), savings("looks/kodak.json"), savings("photos.json"))
    ]
    shares = [
        (share, gpu_machine(inputs({**changes, "gpu_share": share}), measured, big=big))
        for big in (False, True)
        for share in SHARES
    ]
    load, days = scenarios.days(given, cpu, sizes)
    checks = {
        "with the highest rate answered": scenarios.checked(highest=True),
        "with that under overload": scenarios.checked(highest=False),
    }
    made = {
        "machines": tables.machines_table(given, [cpu, gpu, large], MIXTURES),
        "needs": tables.needs_table(given, measured, [cpu, gpu], sizes),
        "ends": tables.ends_table(given, measured, [cpu, gpu], sizes),
        "shares": tables.share_table(given, shares, sizes),
        "days": tables.days_table(days, cpu),
        "coders": tables.coder_table(given, prices),
        "balances": tables.balance_table(balances),
        "checks": tables.check_table(checks),
        "inputs": tables.inputs_table(described(changes)),
    }
    if quick:
        return made
    points = list(scenarios.latencies([cpu, gpu], sizes, given.store))
    made["latencies"] = tables.latency_table(points)
    compared = [list(scenarios.policies(machine, sizes, given.store)) for machine in (cpu, gpu)]
    made["policies"] = tables.policy_table([*compared[0], *compared[1]])
    made["bursts"] = tables.burst_table(list(scenarios.bursts(cpu, sizes, given.store)))
    tables.plot_policies(compared[0], output.with_name(f"{output.name}-policies.png"))
    drawn = [each for each in days if each.scaler.name in DRAWN and each.scaler.target == given.planned_load]
    tables.plot_day(load, drawn, output.with_name(f"{output.name}-day.png"))
    return made


if __name__ == "__main__":
    main()
