"""Model cards: all that is known of a model beside its weights. Each lies beside a weights file."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, get_args

from models.errors import WeightsError
from models.files import write_atomically

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Distortion = Literal["mse", "ms-ssim", "visual"]
"""Key of the distortion that a model was trained for; see `models.learned.objective`."""


class Card:
    """Base of the cards, which are dataclasses: reads and writes them as JSON."""

    __slots__ = ()

    def save(self: DataclassInstance, path: Path) -> None:
        """Write JSON."""
        write_atomically(path, (json.dumps(asdict(self), indent=2) + "\n").encode())

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read JSON. Raises `WeightsError` when the file is missing or not such a card."""
        try:
            return cls.restored(json.loads(path.read_text()))
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise WeightsError(f"cannot read the model card {path.name}: {error}") from error

    @classmethod
    def restored(cls, fields: dict[str, Any]) -> Self:
        """A card from its JSON, which has lists for tuples and objects for dataclasses.

        Raises:
            KeyError, TypeError, ValueError: it is not such a card.
        """
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class RatePoint:
    """Means over the evaluation images at one quality, of streams as they are written.

    Attributes:
        quality: [0, 100].
        bpp: bits per pixel.
        psnr: dB.
        ms_ssim: [0, 1].
        ssimulacra2: 100 for an exact picture; None where it was not measured.
    """

    quality: float
    bpp: float
    psnr: float
    ms_ssim: float
    ssimulacra2: float | None = None


@dataclass(frozen=True, slots=True)
class ModelCard(Card):
    """The card of a learned codec's model.

    Attributes:
        name: of the profile, such as "psnr".
        model_id: 8 hex digits, as in every stream of the model.
        distortion: formula of D in the loss lambda D + R, for readers.
        objective: key of D, for programs.
        lambda_low, lambda_high: the range of lambda over the gain axis.
        steps: of training, those of earlier weights it grew from included; see `history`.
        data_sha256: of the training shards.
        commit: of this repository when it was exported.
        parameters: number of weights.
        history: one line per phase of training.
        evaluated_on: the images behind `rate_distortion`.
        rate_distortion: at rising quality.

    Raises:
        WeightsError: the objective is unknown.
    """

    name: str
    model_id: str
    distortion: str
    objective: Distortion
    lambda_low: float
    lambda_high: float
    steps: int
    data_sha256: str
    commit: str
    parameters: int
    history: tuple[str, ...]
    evaluated_on: str
    rate_distortion: tuple[RatePoint, ...]

    def __post_init__(self) -> None:
        if self.objective not in get_args(Distortion):
            known = " or ".join(get_args(Distortion))
            raise WeightsError(f"the objective of model {self.name} is {self.objective!r}, not {known}")

    @classmethod
    def restored(cls, fields: dict[str, Any]) -> Self:
        """A card from its JSON."""
        points = tuple(RatePoint(**point) for point in fields["rate_distortion"])
        return cls(**fields | {"history": tuple(fields["history"]), "rate_distortion": points})
