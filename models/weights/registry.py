"""The models that ship with the package: names, cards, files."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from models.errors import UnknownModelError, WeightsError
from models.weights.card import ModelCard

WEIGHTS = Path(__file__).parent


def available() -> list[str]:
    """Names of the models at hand, sorted."""
    return sorted(path.stem for path in WEIGHTS.glob("*.safetensors"))


@cache
def card(name: str) -> ModelCard:
    """The card of a model; WeightsError when there is no such model."""
    if name not in available():
        raise WeightsError(f"there is no model {name!r}, only {', '.join(available()) or 'none'}")
    return ModelCard.load(WEIGHTS / f"{name}.json")


def weights(name: str) -> Path:
    """The weights file of a model."""
    return WEIGHTS / f"{card(name).name}.safetensors"


def name_of(model_id: str) -> str:
    """The name of the model with this id (8 hex digits); UnknownModelError when it is not at hand."""
    for name in available():
        if card(name).model_id == model_id:
            return name
    raise UnknownModelError(model_id)
