"""The models at hand: names, cards and files in a folder. Here, those of the learned codec."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Generic, TypeVar

from models.errors import UnknownModelError, WeightsError
from models.weights.card import Card, ModelCard

WEIGHTS = Path(__file__).parent
DEFAULT = "visual"  # name of the model that is loaded when none is named
SHIPPED = (DEFAULT, "ms-ssim", "psnr")  # names of the models that come with this package
_CardT = TypeVar("_CardT", bound=Card)


class Registry(Generic[_CardT]):
    """The models of one kind: `NAME.safetensors` and `NAME.json` for each.

    Args:
        folder: gives the folder that they lie in; it is called each time, so that tests can move
            it.
        card_type: of their cards.
    """

    def __init__(self, folder: Callable[[], Path], card_type: type[_CardT]) -> None:
        self._folder = folder
        self._card_type = card_type

    def available(self) -> list[str]:
        """Names of the models at hand, sorted."""
        return sorted(path.stem for path in self._folder().glob("*.safetensors"))

    def weights(self, name: str) -> Path:
        """The weights file of a model. Raises `WeightsError` when there is no such model."""
        if name not in self.available():
            raise WeightsError(f"there is no model {name!r}, only {', '.join(self.available()) or 'none'}")
        return self._folder() / f"{name}.safetensors"

    def card(self, name: str) -> _CardT:
        """The card of a model. Raises `WeightsError` when there is no such model, or no card."""
        return self._card_type.load(self.weights(name).with_suffix(".json"))


_LEARNED = Registry(lambda: WEIGHTS, ModelCard)

available = _LEARNED.available
weights = _LEARNED.weights
card = cache(_LEARNED.card)


def name_of(model_id: str) -> str:
    """The name of the model with this id (8 hex digits). Raises `UnknownModelError`."""
    for name in available():
        if card(name).model_id == model_id:
            return name
    raise UnknownModelError(model_id)
