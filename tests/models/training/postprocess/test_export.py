"""models.training.postprocess.export"""

from __future__ import annotations

import sys
import tarfile
from pathlib import Path

import pytest
import torch
from PIL import Image

from models.evaluation import enhancement
from models.network.postprocess import PostTopology
from models.postprocess import model as post_model
from models.postprocess.model import PostCard, PostModel
from models.training.postprocess import export as export_postprocess
from models.training.postprocess.pairs import fill
from models.training.postprocess.train import Recipe, Trainer, load_pairs
from tests.make_golden import FIXTURES, golden_picture
from tests.post import KINDS


def quiet(line: str) -> None:
    del line


def test_a_run_becomes_weights_and_a_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = tmp_path / "data"
    images = tmp_path / "images"
    weights = tmp_path / "weights"
    for folder in (data, images):
        folder.mkdir()
    with tarfile.open(data / "shard.tar", "w") as shard:
        shard.add(FIXTURES / "photo.png", "photo.png")
    Image.fromarray(golden_picture().rgb[:64, :64]).save(images / "a.png")
    fill(tmp_path / "cache", [golden_picture().rgb], 1, report=quiet)
    recipe = Recipe(steps=2, batch=2, crop=64)
    trainer = Trainer(tmp_path / "run", recipe, PostTopology(KINDS, channels=8, blocks=1, hidden=4))
    trainer.run(load_pairs(data, tmp_path / "cache", recipe), report=quiet)
    monkeypatch.setattr(post_model, "WEIGHTS", weights)
    monkeypatch.setattr(enhancement, "QUALITIES", {"jpeg": (30,)})
    pairs = {"--run": "run", "--data": "data", "--cache": "cache", "--images": "images", "--files": "files"}
    arguments = [part for name, folder in pairs.items() for part in (name, str(tmp_path / folder))]
    monkeypatch.setattr(sys, "argv", ["export_postprocess", "--name", "tiny", *arguments])
    monkeypatch.setattr(
        export_postprocess,
        "trained_on",
        lambda *_: tuple(post_model.Trained(kind, 0.0, 1.0) for kind in KINDS),
    )

    export_postprocess.main()

    model = PostModel.load(weights / "tiny.safetensors")
    card = PostCard.load(weights / "tiny.json")
    assert model.model_id == card.model_id
    assert card.steps == 2
    assert card.history == ("2 steps of 2 crops of 64x64, 0 minutes, schedule-free AdamW",)
    assert [gain.codec for gain in card.gains] == ["jpeg"]
    for name, tensor in model.network.state_dict().items():
        assert torch.equal(tensor, trainer.trained().weights[name].half().float())


def test_the_range_of_each_kind_is_what_was_seen(tmp_path: Path) -> None:
    fill(tmp_path, [golden_picture().rgb[:32, :32]] * 3, 1, report=quiet)
    found = export_postprocess.trained_on(tmp_path, KINDS)
    assert [trained.kind for trained in found] == list(KINDS)
    assert all(0 < trained.finest < trained.coarsest <= 1 for trained in found)
