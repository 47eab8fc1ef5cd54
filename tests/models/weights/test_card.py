"""models.weights.card"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from models.errors import WeightsError
from models.learned.objective import FORMULAS, Objective
from models.weights import registry
from models.weights.card import ModelCard
from tests.make_golden import tiny_card


@pytest.mark.parametrize("name", registry.available())
def test_a_shipped_card_survives_its_file_to_the_byte(tmp_path: Path, name: str) -> None:
    card = registry.card(name)
    card.save(tmp_path / "card.json")
    assert ModelCard.load(tmp_path / "card.json") == card
    assert (tmp_path / "card.json").read_bytes() == registry.weights(name).with_suffix(".json").read_bytes()
    rates = [point.bpp for point in card.rate_distortion]
    assert rates == sorted(rates)


@pytest.mark.parametrize("content", [None, "", "3", "[]", '{"name": 3}', "\x00"])
def test_what_is_no_card_is_refused(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "card.json").write_text(content)
    with pytest.raises(WeightsError, match=r"card\.json"):
        ModelCard.load(tmp_path / "card.json")


@pytest.mark.parametrize("name", registry.available())
def test_a_model_is_refined_for_what_its_card_says_it_was_trained_for(name: str) -> None:
    card = registry.card(name)
    assert Objective.of(card).distortion == card.objective
    assert FORMULAS[card.objective] == card.distortion
    reworded = replace(card, distortion="mean squared error")
    assert Objective.of(reworded) == Objective.of(card), "prose decides nothing"


def test_an_unknown_objective_is_refused(tmp_path: Path) -> None:
    tiny_card("01234567").save(tmp_path / "card.json")
    fields = json.loads((tmp_path / "card.json").read_text())
    (tmp_path / "card.json").write_text(json.dumps(fields | {"objective": "vmaf"}))
    with pytest.raises(WeightsError, match="'vmaf', not mse or ms-ssim"):
        ModelCard.load(tmp_path / "card.json")
    del fields["objective"]
    (tmp_path / "card.json").write_text(json.dumps(fields))
    with pytest.raises(WeightsError, match="objective"):
        ModelCard.load(tmp_path / "card.json")
