"""A tiny run for several tests: a tiny network on crops of one photograph, but the real loop."""

from __future__ import annotations

from pathlib import Path

import torch

from models.network.autoencoder import AutoEncoder
from models.training.crops import CropSampler
from models.training.loop import Recipe, Trainer
from tests.make_golden import TINY, golden_picture

RECIPE = Recipe(steps=6, batch=2, crop=64, warmup=2, learning_rate=1e-3, finale=0.4)


def trainer(folder: Path, recipe: Recipe = RECIPE) -> tuple[Trainer, CropSampler]:
    torch.manual_seed(5)
    new = Trainer(folder, recipe, AutoEncoder(TINY))
    return new, CropSampler([golden_picture().rgb], recipe.crop, new.rng)


def quiet(line: str) -> None:
    del line
