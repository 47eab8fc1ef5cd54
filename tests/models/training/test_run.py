"""models.training.run: resuming, ending, the average, and the log"""

from __future__ import annotations

import copy
import csv
import os
import signal
from dataclasses import replace
from pathlib import Path

import torch

from models.training.loop import Recipe
from models.training.run import CHECKPOINT, LOG, WEIGHTS, RunWeights
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
    for name, tensor in whole.trained().weights.items():
        assert torch.equal(tensor, second.trained().weights[name]), name


def test_a_resumed_run_takes_the_recipe_of_now(tmp_path: Path) -> None:
    short, sampler = trainer(tmp_path, replace(RECIPE, steps=3))
    short.run(sampler, report=quiet)
    longer = replace(RECIPE, steps=9, learning_rate=5e-3, warmup=7)
    resumed, sampler = trainer(tmp_path, longer)
    resumed.resume()
    assert [group["lr"] for group in resumed.optimizer.param_groups] == [5e-3, 4 * 5e-3]
    assert {group["warmup_steps"] for group in resumed.optimizer.param_groups} == {7}
    resumed.run(sampler, report=quiet)
    assert resumed.step == 9


def test_a_run_ends_when_its_time_is_over_and_may_go_on(tmp_path: Path) -> None:
    run, sampler = trainer(tmp_path, replace(RECIPE, steps=1000, minutes=1e-9))
    run.run(sampler, report=quiet)
    assert run.step == 1, "the first step tells the time"
    resumed, sampler = trainer(tmp_path, replace(RECIPE, steps=2))
    resumed.resume()
    resumed.run(sampler, report=quiet)
    assert resumed.step == 2


def test_the_weights_are_what_the_optimiser_would_swap_in(tmp_path: Path) -> None:
    run, sampler = trainer(tmp_path)
    run.run(sampler, report=quiet)
    before = copy.deepcopy(run.model.state_dict())
    weights = run.trained().weights
    for name, tensor in run.model.state_dict().items():
        assert torch.equal(tensor, before[name]), "the run is as it was"
    run.optimizer.eval()
    for name, tensor in run.weights_of(run.model).items():
        expected = tensor.half() if name.endswith("weight") else tensor
        assert torch.allclose(weights[name].float(), expected.float(), rtol=2e-3, atol=1e-6), name


def test_checkpoints_are_written_while_it_runs(tmp_path: Path) -> None:
    run, sampler = trainer(tmp_path)
    seen: list[bool] = []
    run.run(sampler, save_every=0, log_every=1, report=lambda _: seen.append((tmp_path / WEIGHTS).exists()))
    assert seen == [False] + [True] * 5


def test_the_log_goes_on_in_the_same_file(tmp_path: Path) -> None:
    for steps in (3, 6):
        run, sampler = trainer(tmp_path, replace(RECIPE, steps=steps))
        if run.checkpoint.exists():
            run.resume()
        run.run(sampler, log_every=1, report=quiet)
    with (tmp_path / LOG).open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows] == [1, 2, 3, 4, 5, 6]
    assert list(rows[0]) == ["step", "seconds", "loss", "mse", "bpp"]


def test_a_run_tells_what_it_was(tmp_path: Path) -> None:
    run, sampler = trainer(tmp_path)
    run.run(sampler, report=quiet)
    trained = RunWeights.load(tmp_path / WEIGHTS)
    assert Recipe(**trained.recipe) == RECIPE
    line = trained.history_line(RECIPE)
    assert line.startswith("6 steps of 2 crops of 64x64, mse, ")
    assert line.endswith("0 minutes, schedule-free AdamW")
    assert {path.name for path in tmp_path.iterdir()} == {CHECKPOINT, WEIGHTS}, "nothing half-written is left"
