"""models.weights.weights_file"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from models.errors import WeightsError
from models.network.postprocess import PostTopology
from models.weights import weights_file

TENSORS = {"b": torch.arange(6).reshape(2, 3).half(), "a": torch.tensor([1.5])}


def test_tensors_and_sizes_come_back(tmp_path: Path) -> None:
    weights_file.save(tmp_path / "x.safetensors", PostTopology(("avif",), channels=8), TENSORS)
    topology, tensors = weights_file.load(
        tmp_path / "x.safetensors", lambda topology, tensors: (topology, tensors)
    )
    assert topology == {"kinds": ["avif"], "fold": 4, "channels": 8, "blocks": 6, "hidden": 32}
    assert tensors.keys() == TENSORS.keys()
    assert all(torch.equal(tensors[name], tensor) for name, tensor in TENSORS.items())
    assert [path.name for path in tmp_path.iterdir()] == ["x.safetensors"]


@pytest.mark.parametrize("content", [None, b"", b"garbage", b"\x08\0\0\0\0\0\0\0{}      "])
def test_files_that_hold_no_weights_are_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "x.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(WeightsError, match=r"x\.safetensors"):
        weights_file.load(path, lambda topology, tensors: None)


@pytest.mark.parametrize(
    "error", [KeyError("gain"), TypeError("width"), RuntimeError("shapes"), ValueError("kinds")]
)
def test_weights_of_another_model_are_refused(tmp_path: Path, error: Exception) -> None:
    def assemble(topology: dict[str, Any], tensors: dict[str, Tensor]) -> None:
        raise error

    weights_file.save(tmp_path / "x.safetensors", PostTopology(()), TENSORS)
    with pytest.raises(WeightsError, match=str(error.args[0])):
        weights_file.load(tmp_path / "x.safetensors", assemble)


def test_the_id_follows_sizes_names_types_shapes_and_values_but_no_order() -> None:
    """The first id is for ever: streams name their models so."""
    known = weights_file.identify({"n": 1, "m": 2}, TENSORS)
    assert known == "de0518d0"
    assert weights_file.identify({"m": 2, "n": 1}, dict(reversed(TENSORS.items()))) == known
    others = [
        weights_file.identify({"n": 1, "m": 3}, TENSORS),
        weights_file.identify({"n": 1, "m": 2}, TENSORS | {"c": torch.zeros(0)}),
        weights_file.identify({"n": 1, "m": 2}, TENSORS | {"a": torch.tensor([1.25])}),
        weights_file.identify({"n": 1, "m": 2}, TENSORS | {"a": torch.tensor([[1.5]])}),
        weights_file.identify({"n": 1, "m": 2}, TENSORS, dtypes=False),
    ]
    assert len({known, *others}) == len(others) + 1
