"""The model tells of the load benchmark what was measured, and its runs are what they say."""

from __future__ import annotations

import pytest

from benchmarks.capacity.inputs import WEB, costs, cpu_machine, gpu_machine, inputs
from benchmarks.capacity.scenarios import checked, needs, scalers, steady
from benchmarks.capacity.simulation import Sizes

GIVEN, MEASURED = inputs(), costs()
CPU = cpu_machine(GIVEN, MEASURED)


def test_the_load_benchmark_lies_between_its_two_models() -> None:
    fast, slow = checked(highest=True), checked(highest=False)
    for one in (fast, slow):
        for step in one[:3]:  # below capacity: the p50 of each, from that of the first
            assert step.modelled[:2] == pytest.approx(step.measured[:2], rel=0.15)
    for quick, late in zip(fast[3:], slow[3:], strict=True):  # at capacity and beyond
        assert late.modelled[0] * 0.98 < quick.measured[0] < quick.modelled[0] * 1.05
    assert fast[-1].modelled[2] * 0.85 < fast[-1].measured[2] < slow[-1].modelled[2] * 1.1


def test_a_steady_load_keeps_lanes_as_busy_as_it_says() -> None:
    sizes = Sizes([(1, 0.39, 2.0, 1000)])  # no two pictures share a batch
    point = steady(CPU, 3, 0.6, sizes, GIVEN.store, requests=4000)
    assert point.outcome.busy == pytest.approx(0.6, rel=0.05)
    assert point.outcome.refused == 0
    assert point.outcome.percentile(50) == pytest.approx(CPU.kind.lane_seconds(0.39) + 0.06, rel=0.1)


def test_needs_grow_with_the_machines() -> None:
    one, ten = (needs(GIVEN, MEASURED, CPU, count, WEB) for count in (1, 10))
    assert ten.requests == pytest.approx(10 * one.requests)
    assert ten.gbit == pytest.approx(ten.requests * WEB.mean_mb * 8 / 1e3)
    assert ten.pass_micros == pytest.approx(one.pass_micros / 10)
    gpu = needs(GIVEN, MEASURED, gpu_machine(GIVEN, MEASURED), 1, WEB)
    assert gpu.scraped < one.scraped  # one process instead of four


def test_no_rule_has_more_replicas_than_there_may_be() -> None:
    assert {rule.most for rule in scalers(GIVEN, 7)} == {7}
    assert len({(rule.name, rule.target) for rule in scalers(GIVEN, 7)}) == len(scalers(GIVEN, 7))
