"""Every number has its source, and machines carry what was measured of them."""

from __future__ import annotations

import json
from dataclasses import fields

import pytest

from benchmarks.capacity.inputs import (
    INPUTS,
    KODAK_MP,
    THUMBNAIL_MP,
    WEB,
    Inputs,
    costs,
    cpu_machine,
    described,
    gpu_machine,
    inputs,
)
from benchmarks.capacity.simulation import Sizes


def test_every_number_is_used_and_says_where_it_is_from() -> None:
    assert list(json.loads(INPUTS.read_text())) == [field.name for field in fields(Inputs)]
    for each in described():
        assert each.kind in {"measured", "derived", "published", "list price", "assumed"}, each.name
        assert each.source, each.name


def test_a_number_can_be_changed_and_says_so() -> None:
    assert inputs({"cpu_dollars": 0.5}).cpu_dollars == 0.5
    (changed,) = [each for each in described({"cpu_dollars": 0.5}) if each.kind == "changed"]
    assert "0.714" in changed.source
    with pytest.raises(KeyError):
        inputs({"no such number": 1})


def test_two_cores_carry_what_was_measured_of_them() -> None:
    given, measured = inputs({"vcpus": 2, "lanes": 2}), costs()
    machine = cpu_machine(given, measured)
    photographs = machine.capacity(Sizes([(1, KODAK_MP, 1, 1)]))
    assert photographs == pytest.approx(measured.compress["compress images"])
    kind, batch = machine.kind, given.thumbnail_batch
    thumbnails = 2 / (kind.batch / batch + kind.request + kind.pixels * THUMBNAIL_MP)
    assert thumbnails == pytest.approx(measured.compress["compress 128x128"])


def test_the_scarcest_part_of_a_gpus_machine_is_its_capacity() -> None:
    small, big = (gpu_machine(inputs(), costs(), big=big) for big in (False, True))
    assert set(small.limits(WEB)) == {"lanes", "event loop", "readers", "coders"}
    assert small.capacity(WEB) == min(small.limits(WEB).values())
    assert small.limits(WEB)["lanes"] < big.limits(WEB)["lanes"]
    assert small.limits(WEB)["event loop"] == big.limits(WEB)["event loop"]
