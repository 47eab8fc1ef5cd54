"""models.training.loop: a tiny network on a few crops, but the real loop"""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from models.learned.objective import OBJECTIVES, Distortion
from models.training.crops import CropSampler
from models.training.loop import Recipe, averaged_model
from tests.make_golden import TINY
from tests.models.training.tiny_run import RECIPE, quiet, trainer


@pytest.mark.parametrize("distortion", list(OBJECTIVES))
def test_training_lowers_the_loss_and_logs_it(tmp_path: Path, distortion: Distortion) -> None:
    recipe = Recipe(distortion=distortion, steps=40, batch=2, crop=64, warmup=2, learning_rate=2e-3)
    new, sampler = trainer(tmp_path, recipe)
    new.run(sampler, log_every=10, report=quiet)
    with (tmp_path / "log.csv").open() as file:
        losses = [float(row["loss"]) for row in csv.DictReader(file)]
    assert len(losses) == 4
    assert losses[-1] < losses[0]
    averaged = averaged_model(tmp_path / "checkpoint.pt")
    assert averaged.topology == TINY
    for name, tensor in averaged.state_dict().items():
        assert torch.equal(tensor, new.average[name]), name


def test_the_finale_is_on_larger_crops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    new, sampler = trainer(tmp_path)
    drawn: list[tuple[int, int]] = []
    batch = CropSampler.batch

    def noted(self: CropSampler, count: int) -> torch.Tensor:
        drawn.append((count, self.size))
        return batch(self, count)

    monkeypatch.setattr(CropSampler, "batch", noted)
    new.run(sampler, report=quiet)
    assert drawn == [(2, 64)] * 4 + [(1, 128)] * 2


def test_the_ends_of_the_gain_axis_have_the_lambdas_of_the_objective() -> None:
    objective = OBJECTIVES["mse"]
    ends = objective.lmbda(torch.tensor([0.0, 1.0]))
    assert ends.tolist() == pytest.approx([objective.lambda_low, objective.lambda_high])


def test_a_recipe_in_words() -> None:
    words = "steps of 2 crops of 64x64, mse, mostly at 0.13 to 0.78 of the gain axis"
    assert RECIPE.described(4) == f"4 {words}"
    assert RECIPE.described(6) == f"6 {words}, the last 2 of 1 of 128x128"


def test_training_the_prior_leaves_the_transforms_alone(tmp_path: Path) -> None:
    new, sampler = trainer(tmp_path, replace(RECIPE, trained="prior"))
    before = {name: tensor.clone() for name, tensor in new.model.state_dict().items()}
    new.run(sampler, report=quiet)
    for name, tensor in new.model.state_dict().items():
        kept = name.startswith(("g_a.", "g_s.", "gain", "inverse_gain"))
        assert not kept or torch.equal(tensor, before[name]), name
    changed = [
        name for name, tensor in new.model.state_dict().items() if not torch.equal(tensor, before[name])
    ]
    assert {name.split(".")[0] for name in changed} == {"h_a", "h_scale", "h_mean", "context", "prior_z"}
