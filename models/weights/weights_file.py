"""Weights files (.safetensors): the tensors of a model, and what fixes their shapes as JSON."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor

from models.errors import WeightsError
from models.files import write_atomically

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

_Model = TypeVar("_Model")


def load(path: Path, assemble: Callable[[dict[str, Any], dict[str, Tensor]], _Model]) -> _Model:
    """Read a file; `assemble` makes a model of its topology, as JSON has it, and its tensors.

    Raises:
        WeightsError: the file is missing or damaged, or `assemble` finds another topology.
    """
    try:
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # not a mapping
            topology = json.loads(file.metadata()["topology"])
        return assemble(topology, tensors)
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise WeightsError(f"cannot load {path.name}: {error}") from error


def save(path: Path, topology: DataclassInstance, tensors: dict[str, Tensor]) -> None:
    """Write a file."""
    write_atomically(path, to_bytes(tensors, {"topology": json.dumps(asdict(topology))}))


def identify(sizes: Mapping[str, object], tensors: Mapping[str, Tensor], *, dtypes: bool = True) -> str:
    """A model's id, 8 hex digits: the first 4 bytes of a SHA-256 over sizes and tensors [format].

    Args:
        sizes: of the topology, those that the tensors do not tell.
        tensors: all that decoding depends on.
        dtypes: hash the tensors' types too; not where all are in half precision.
    """
    digest = hashlib.sha256(json.dumps(sizes, sort_keys=True).encode())
    for name, tensor in sorted(tensors.items()):
        dtype = f"{tensor.dtype} " if dtypes else ""
        digest.update(f"{name} {dtype}{tuple(tensor.shape)}".encode())
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()[:8]
