"""models.training.loop: a tiny network on a few crops, but the real loop"""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import Literal, get_args, get_type_hints

import pytest
import torch

from models.learned.objective import LAMBDA_LOW, Distortion
from models.training.loop import Recipe, trained_network
from models.training.run import WEIGHTS
from tests.make_golden import TINY
from tests.models.training.tiny_run import RECIPE, quiet, trainer


@pytest.mark.parametrize("distortion", list(LAMBDA_LOW))
def test_training_lowers_the_loss_and_logs_it(tmp_path: Path, distortion: Distortion) -> None:
    recipe = Recipe(distortion=distortion, steps=16, batch=2, crop=64, warmup=2, learning_rate=3e-3)
    new, sampler = trainer(tmp_path, recipe)
    new.run(sampler, log_every=4, report=quiet)
    with (tmp_path / "log.csv").open() as file:
        losses = [float(row["loss"]) for row in csv.DictReader(file)]
    assert len(losses) == 4
    assert losses[-1] < losses[0]
    network = trained_network(tmp_path / WEIGHTS)
    assert network.topology == TINY
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, new.trained().weights[name].float()), name


def test_a_recipe_in_words() -> None:
    words = "steps of 2 crops of 64x64, mse, mostly at 0.13 to 0.78 of the gain axis"
    assert RECIPE.described(4) == f"4 {words}"
    assert "mse, decoder alone, mostly" in replace(RECIPE, trained="decoder").described(4)


TRAINED = {
    "all": {"g_a", "g_s", "gain", "inverse_gain", "h_a", "h_scale", "h_mean", "context", "prior_z"},
    "prior": {"h_a", "h_scale", "h_mean", "context", "prior_z"},
    "decoder": {"g_s", "inverse_gain"},
}


@pytest.mark.parametrize("part", get_args(get_type_hints(Recipe)["trained"]))
def test_training_a_part_leaves_the_others_alone(
    tmp_path: Path, part: Literal["all", "prior", "decoder"]
) -> None:
    new, sampler = trainer(tmp_path, replace(RECIPE, trained=part, steps=2))
    before = {name: tensor.float() for name, tensor in new.trained().weights.items()}
    new.run(sampler, report=quiet)
    after = new.trained().weights
    changed = {name.split(".")[0] for name in after if not torch.equal(after[name].float(), before[name])}
    assert changed == TRAINED[part]
