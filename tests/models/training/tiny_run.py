"""A tiny run for several tests: a tiny network on crops of one photograph, but the real loop."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from models.network.autoencoder import AutoEncoder
from models.training.crops import CropSampler
from models.training.loop import Recipe, Trainer
from tests.make_golden import TINY, golden_picture

RECIPE = Recipe(steps=6, batch=2, crop=64, warmup=2, learning_rate=1e-3)


def trainer(folder: Path, recipe: Recipe = RECIPE) -> tuple[Trainer, CropSampler]:
    torch.manual_seed(5)
    network = AutoEncoder(TINY)
    rng = np.random.default_rng(recipe.seed)
    sampler = CropSampler([golden_picture().rgb], recipe.crop, rng)
    return Trainer(folder, recipe, network, rng), sampler


def quiet(line: str) -> None:
    del line
