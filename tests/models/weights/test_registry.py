"""models.weights.registry"""

from __future__ import annotations

from pathlib import Path

import pytest

from models.errors import UnknownModelError, WeightsError
from models.weights import registry
from models.weights.card import ModelCard
from models.weights.registry import Registry
from tests.make_golden import tiny_card


def test_what_is_shipped_is_found_by_name_and_by_id() -> None:
    assert registry.available() == ["ms-ssim", "psnr", "visual"]
    for name in registry.available():
        assert registry.card(name).name == name
        assert registry.name_of(registry.card(name).model_id) == name
        assert registry.weights(name).is_file()


def test_unknown_models_are_named() -> None:
    with pytest.raises(WeightsError, match="there is no model 'nope', only ms-ssim, psnr, visual"):
        registry.card("nope")
    with pytest.raises(WeightsError, match="'nope'"):
        registry.weights("nope")
    with pytest.raises(UnknownModelError, match="0badc0de"):
        registry.name_of("0badc0de")


def test_the_folder_may_move_and_a_model_has_two_files(tmp_path: Path) -> None:
    folders = [tmp_path]
    models = Registry(lambda: folders[0], ModelCard)
    assert models.available() == []
    (tmp_path / "new").mkdir()
    folders[0] = tmp_path / "new"
    (folders[0] / "tiny.safetensors").touch()
    assert models.available() == ["tiny"]
    with pytest.raises(WeightsError, match=r"tiny\.json"):
        models.card("tiny")
    tiny_card("01234567").save(folders[0] / "tiny.json")
    assert models.card("tiny") == tiny_card("01234567")
