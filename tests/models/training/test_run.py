"""models.training.run: resuming, the learning rate, the average, and the log"""

from __future__ import annotations

import csv
import math
import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from models.training.loop import Recipe
from models.training.run import CHECKPOINT, history_line, read_checkpoint
from tests.models.training.tiny_run import RECIPE, quiet, trainer


def test_a_resumed_run_equals_an_unbroken_one(tmp_path: Path) -> None:
    whole, sampler = trainer(tmp_path / "whole")
    whole.run(sampler, report=quiet)

    first, sampler = trainer(tmp_path / "broken")

    def stop_after_three(_: str) -> None:
        if first.step == 3:
            os.kill(os.getpid(), signal.SIGTERM)  # what a scheduler sends

    first.run(sampler, log_every=1, report=stop_after_three)
    assert first.step == 3
    second, sampler = trainer(tmp_path / "broken")
    second.resume()
    second.run(sampler, report=quiet)
    for name, tensor in whole.model.state_dict().items():
        assert torch.equal(tensor, second.model.state_dict()[name]), name
        assert torch.equal(whole.average[name], second.average[name]), name


def test_a_resumed_run_takes_the_recipe_of_now(tmp_path: Path) -> None:
    short, sampler = trainer(tmp_path, replace(RECIPE, steps=3))
    short.run(sampler, report=quiet)
    longer = replace(RECIPE, steps=9, learning_rate=5e-3)
    resumed, sampler = trainer(tmp_path, longer)
    resumed.resume()
    rates = [group["lr"] for group in resumed.optimizer.param_groups]
    expected = 5e-3 * longer.learning_rate_share(3)
    assert rates == pytest.approx([expected, 4 * expected])
    resumed.run(sampler, report=quiet)
    assert resumed.step == 9


def formula(recipe: Recipe, step: int) -> float:
    """The learning rate as it was computed by hand before schedulers did."""
    warm = min(1.0, (step + 1) / recipe.warmup)
    done = max(0.0, (step / recipe.steps - recipe.hold) / (1 - recipe.hold))
    decay = 0.005 + 0.995 * 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))
    return recipe.learning_rate * warm * decay


def test_the_optimiser_steps_at_the_rate_of_the_formula(tmp_path: Path) -> None:
    recipe = replace(RECIPE, steps=10, warmup=3, hold=0.5)
    run, _ = trainer(tmp_path, recipe)
    used: list[list[float]] = []
    for step in range(recipe.steps):
        used.append([group["lr"] for group in run.optimizer.param_groups])
        run.step = step
        run.descend(run.model.gain.square().sum())
    expected = [formula(recipe, step) for step in range(recipe.steps)]
    assert [slow for slow, _ in used] == pytest.approx(expected, rel=1e-12)
    assert [fast for _, fast in used] == pytest.approx([4 * rate for rate in expected], rel=1e-12)


def test_the_learning_rate_warms_up_holds_and_falls_to_nothing() -> None:
    recipe = Recipe(steps=1000, warmup=100, hold=0.5)
    shares = [recipe.learning_rate_share(step) for step in range(1000)]
    assert shares[0] < shares[50] < shares[99] == max(shares) == shares[499] == 1
    assert shares[-1] < 0.01


def test_the_average_is_the_exponential_one_with_a_fast_start(tmp_path: Path) -> None:
    run, sampler = trainer(tmp_path, replace(RECIPE, steps=5, averaging=0.3, finale=0.0))
    expected = {name: tensor.clone() for name, tensor in run.model.state_dict().items()}
    for step in range(5):
        run.descend(run.model(sampler.batch(1), torch.zeros(1))[1].sum())
        decay = min(0.3, (1 + step) / (10 + step))
        for name, tensor in run.model.state_dict().items():
            expected[name].lerp_(tensor, 1 - decay)
    for name, tensor in run.average.items():
        assert torch.equal(tensor, expected[name]), name


def test_the_log_goes_on_in_the_same_file(tmp_path: Path) -> None:
    for steps in (3, 6):
        run, sampler = trainer(tmp_path, replace(RECIPE, steps=steps))
        if run.checkpoint.exists():
            run.resume()
        run.run(sampler, log_every=1, report=quiet)
    with (tmp_path / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows] == [1, 2, 3, 4, 5, 6]
    assert list(rows[0]) == ["step", "seconds", "learning_rate", "loss", "mse", "bpp"]
    assert float(rows[0]["learning_rate"]) == pytest.approx(0.5 * RECIPE.learning_rate)


def test_a_run_is_described_in_a_line(tmp_path: Path) -> None:
    run, sampler = trainer(tmp_path)
    run.run(sampler, report=quiet)
    checkpoint = read_checkpoint(tmp_path / CHECKPOINT)
    assert Recipe(**checkpoint["recipe"]) == RECIPE
    line = history_line(RECIPE, checkpoint)
    assert line.startswith("6 steps of 2 crops of 64x64, mse, ")
    assert line.endswith("0 minutes, weights averaged at 0.9995")
    assert [path.name for path in tmp_path.iterdir()] == [CHECKPOINT], "nothing half-written is left"
