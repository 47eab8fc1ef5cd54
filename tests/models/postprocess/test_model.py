"""models.postprocess.model"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from models.errors import SourceError, WeightsError
from models.network.postprocess import PostNetwork, PostTopology
from models.postprocess.model import Gain, PostCard, PostModel, Trained
from models.postprocess.sources import Source
from tests.post import tiny_post_card, tiny_post_model


def test_a_file_holds_the_model_and_its_id(tmp_path: Path) -> None:
    model = tiny_post_model()
    model.save(tmp_path / "a.safetensors")
    read = PostModel.load(tmp_path / "a.safetensors")
    assert read.model_id == model.model_id
    assert read.network.topology == model.network.topology
    for name, tensor in model.network.state_dict().items():
        assert torch.equal(read.network.state_dict()[name], tensor)


def test_other_weights_have_another_id() -> None:
    network = PostNetwork(PostTopology(("avif",), channels=4, blocks=1))
    before = PostModel.of(network).model_id
    with torch.no_grad():
        network.last.weight[0] += 1
    assert PostModel.of(network).model_id != before


def test_broken_files_are_told(tmp_path: Path) -> None:
    with pytest.raises(WeightsError):
        PostModel.load(tmp_path / "none.safetensors")
    (tmp_path / "cut.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0{}")
    with pytest.raises(WeightsError):
        PostModel.load(tmp_path / "cut.safetensors")
    (tmp_path / "card.json").write_text('{"name": "x"}')
    with pytest.raises(WeightsError):
        PostCard.load(tmp_path / "card.json")


def test_a_card_survives_its_file(tmp_path: Path) -> None:
    card = replace(tiny_post_card("01234567"), gains=(Gain("avif", 30, 0.2, (30.0, 30.5), (0.95, 0.96)),))
    card.save(tmp_path / "card.json")
    assert PostCard.load(tmp_path / "card.json") == card


def test_a_card_says_what_its_model_is_for() -> None:
    card = replace(tiny_post_card("01234567"), trained=(Trained("avif", 0.3, 0.9),))
    card.check(Source("avif", 0.3))
    card.check(Source("avif", 0.9))
    for source, text in (
        (Source("avif", 0.29), "higher quality"),
        (Source("avif", 0.91), "lower quality"),
        (Source("jpeg", 0.5), "not jpeg"),
    ):
        with pytest.raises(SourceError, match=text):
            card.check(source)
