"""Savings are those of the evaluation, of the models it names, and may be losses."""

from __future__ import annotations

import json
import math

import pytest

from benchmarks.capacity.inputs import costs, cpu_machine, inputs
from benchmarks.capacity.money import EVALUATION, Saving, balance, chosen, coders, recovery, savings

LOSS = Saving("", "", "", "avif-444", "", 25.0)
GAIN = Saving("", "", "", "avif-444", "", -50.0)


def test_savings_are_those_of_the_reports_with_their_models() -> None:
    kodak = savings()
    report = json.loads((EVALUATION / "kodak.json").read_text())
    assert len(kodak) == sum(each["bd"] is not None for each in report["comparisons"])
    for each in chosen(kodak, savings("looks/kodak.json"), savings("photos.json")):
        assert f"model {each.model}" in report["versions"].values()
        assert -100 < each.percent < 200


def test_equal_quality_takes_the_other_so_many_bytes() -> None:
    assert GAIN.anchor_bytes == 2
    assert LOSS.anchor_bytes == 0.8


@pytest.mark.parametrize(
    ("extra", "saved", "periods"),
    [(6.0, 2.0, 3.0), (6.0, -2.0, math.inf), (-6.0, 2.0, 0.0), (-6.0, -2.0, -3.0), (0.0, 0.0, 0.0)],
)
def test_what_costs_more_is_saved_or_never(extra: float, saved: float, periods: float) -> None:
    assert recovery(extra, saved) == periods


def test_a_million_images_by_hand() -> None:
    given = inputs({"bpp": 0.8, "storage_dollars": 0.02, "egress_dollars": 0.1})
    prices = coders(given, costs(), cpu_machine(given, costs()), 1.0)
    gain, loss = (balance(given, each, prices, 1.0) for each in (GAIN, LOSS))
    assert (gain.ours_gb, gain.other_gb, loss.other_gb) == pytest.approx((100, 200, 80))
    assert (gain.month, gain.download) == pytest.approx((2, 10))
    assert (loss.month, loss.download) == pytest.approx((-0.4, -2))
    # Dearer to make than JPEG, cheaper than AVIF at speed 4.
    assert prices["JPEG encode"].dollars < prices["ziggurat encode"].dollars
    assert prices["ziggurat encode"].dollars < prices["AVIF speed 4 encode"].dollars
    assert gain.months == gain.downloads == 0
    assert loss.months < 0
