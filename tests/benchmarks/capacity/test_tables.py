"""Tables say what was found, and every one that the page includes is made by the program."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from benchmarks.capacity import autoscale
from benchmarks.capacity.__main__ import run
from benchmarks.capacity.inputs import MIXTURES, costs, cpu_machine, gpu_machine, inputs
from benchmarks.capacity.money import Balance, Saving
from benchmarks.capacity.scenarios import COUNTS, LOADS, Burst, Point
from benchmarks.capacity.simulation import Outcome
from benchmarks.capacity.tables import (
    balance_table,
    big,
    burst_table,
    ends_table,
    latency_table,
    machines_table,
    plot_policies,
    policy_table,
)
from benchmarks.markdown import markdown

ROOT = Path(__file__).parents[3]
OUTCOME = Outcome(np.arange(4.0), np.array([0.1, 0.2, 0.3, np.nan]), 4, 0.5)
POINTS = [Point("L4", count, load, "least", 1, OUTCOME) for count in COUNTS for load in LOADS]


@pytest.mark.parametrize(
    ("number", "written"), [(0.3149, "0.315"), (51_041.7, "51,000"), (896_000, "896,000"), (3e6, "3 M")]
)
def test_numbers_have_three_digits(number: float, written: str) -> None:
    assert big(number) == written


def test_latencies_and_policies_are_shown_and_drawn(tmp_path: Path) -> None:
    shown = "200 ms / 298 ms, 25% refused"
    assert markdown(latency_table(POINTS)).count(shown) == len(POINTS)
    assert markdown(policy_table(POINTS[: len(LOADS)])).count(shown) == len(LOADS)
    plot_policies(POINTS[: len(LOADS)], tmp_path / "policies.png")
    assert (tmp_path / "policies.png").stat().st_size > 10_000


def test_bursts_say_how_high_they_rise_and_what_they_refuse() -> None:
    made = markdown(burst_table([Burst(0.5, 2.0, 1.5, 0.0), Burst(0.5, 4.0, 12.0, 0.1)]))
    assert "| 50% | 100%: 1.5 s | 200%: 12.0 s, 10% refused |" in made


def test_losses_are_called_losses() -> None:
    def balance(encode: float, saved: float) -> Balance:
        return Balance(Saving("kodak", "psnr", "1d2b1b73", "jpeg", "psnr", 0), 1, 1, encode, saved, saved)

    made = markdown(balance_table([balance(2, 1), balance(2, -1), balance(-2, 1), balance(-3, -1)]))
    for written in ("| 2.0 | 2.0 |", "| never | never |", "| at once | at once |", "| lost after 3 |"):
        assert written in made


def test_machines_and_where_they_end_have_their_rows() -> None:
    given, measured = inputs(), costs()
    machines = [cpu_machine(given, measured), gpu_machine(given, measured)]
    assert machines_table(given, machines, MIXTURES).row_count == 4
    assert "S3, one partition" in markdown(ends_table(given, measured, machines, MIXTURES["web"]))


def test_the_page_includes_what_the_program_makes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(autoscale, "DAY", 3600)
    page = (ROOT / "docs/scaling.md").read_text()
    included = set(re.findall(r"results/capacity-(\w+)\.md", page))
    made = run({}, "web", tmp_path / "capacity", quick=True)
    assert included == {*made, "latencies", "policies", "bursts"}
    for name in included:
        assert (ROOT / f"benchmarks/results/capacity-{name}.md").is_file()
