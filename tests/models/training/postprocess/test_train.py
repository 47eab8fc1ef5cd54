"""models.training.postprocess.train: a tiny network on a few crops, but the real loop"""

from __future__ import annotations

import csv
import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from models.learned.objective import Distortion
from models.network.postprocess import PostTopology
from models.postprocess.model import PostModel
from models.training.postprocess.export import network_of
from models.training.postprocess.pairs import fill, stored
from models.training.postprocess.train import Pair, Recipe, Trainer
from models.training.run import WEIGHTS
from tests.make_golden import golden_picture
from tests.post import KINDS

RECIPE = Recipe(steps=6, batch=2, crop=64, warmup=2)
TOPOLOGY = PostTopology(KINDS, channels=8, blocks=2, hidden=4)


def quiet(line: str) -> None:
    del line


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> list[Pair]:
    cache = tmp_path_factory.mktemp("cache")
    picture = golden_picture().rgb
    fill(cache, [picture], 1, report=quiet)
    return [Pair.from_file(file, picture) for _, _, file in stored(cache)]


def test_a_resumed_run_equals_an_unbroken_one(tmp_path: Path, pairs: list[Pair]) -> None:
    whole = Trainer(tmp_path / "whole", RECIPE, TOPOLOGY)
    whole.run(pairs, report=quiet)
    first = Trainer(tmp_path / "broken", RECIPE, TOPOLOGY)

    def stop_after_three(_: str) -> None:
        if first.step == 3:
            os.kill(os.getpid(), signal.SIGTERM)  # what a scheduler sends

    first.run(pairs, log_every=1, report=stop_after_three)
    assert first.step == 3
    second = Trainer(tmp_path / "broken", RECIPE, TOPOLOGY)
    second.resume()
    second.run(pairs, report=quiet)
    for name, tensor in whole.model.state_dict().items():
        assert torch.equal(tensor, second.model.state_dict()[name]), name
    for name, tensor in whole.trained().weights.items():
        assert torch.equal(tensor, second.trained().weights[name]), name


def test_a_run_for_other_sources_starts_from_an_earlier_one(tmp_path: Path, pairs: list[Pair]) -> None:
    earlier = Trainer(tmp_path / "earlier", RECIPE, TOPOLOGY)
    earlier.run(pairs, report=quiet)
    new = Trainer(tmp_path / "new", RECIPE, replace(TOPOLOGY, kinds=("0123abcd",)))
    new.start_from(earlier.folder / WEIGHTS)
    weights = earlier.trained().weights
    for name, tensor in new.model.state_dict().items():
        assert name == "modulation.0.weight" or torch.equal(tensor, weights[name].float())
    assert new.model.modulation[0].weight.shape == (4, 2)

    PostModel.of(network_of(earlier.trained())).save(tmp_path / "earlier.safetensors")
    again = Trainer(tmp_path / "again", RECIPE, TOPOLOGY)
    again.start_from(tmp_path / "earlier.safetensors")
    for name, tensor in again.model.state_dict().items():
        assert torch.equal(tensor, weights[name].half().float())


@pytest.mark.parametrize("distortion", ["mse", "ms-ssim"])
def test_training_takes_artefacts_out_and_logs_it(
    tmp_path: Path, pairs: list[Pair], distortion: Distortion
) -> None:
    new = Trainer(tmp_path, replace(RECIPE, steps=60, learning_rate=3e-3, distortion=distortion), TOPOLOGY)
    new.run(pairs, log_every=20, report=quiet)
    with (tmp_path / "log.csv").open() as file:
        gains = [float(row["gain_db"]) for row in csv.DictReader(file)]
    assert len(gains) == 3
    assert gains[-1] > gains[0]
    assert gains[-1] > 0
