"""The model card beside each weights file: what it is, how it came about, what it measured."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from models.errors import WeightsError


@dataclass(frozen=True, slots=True)
class RatePoint:
    """Means over the evaluation images at one quality, real bytes from the real coder."""

    quality: float
    bpp: float
    psnr: float
    ms_ssim: float


@dataclass(frozen=True, slots=True)
class ModelCard:
    """Everything about a model that is not its weights.

    Attributes:
        name: of the profile, "psnr" or "ms-ssim".
        model_id: 8 hex digits, as in every stream of the model.
        distortion: what D was in the loss lambda D + R.
        lambda_low, lambda_high: the range of lambda over the gain axis.
        steps: of training, those of earlier weights it grew from included; see `history`.
        data_sha256: of the training shards.
        commit: of this repository when it was exported.
        parameters: number of weights.
        history: one line per phase of training.
        evaluated_on: the images behind `rate_distortion`.
        rate_distortion: at rising quality.
    """

    name: str
    model_id: str
    distortion: str
    lambda_low: float
    lambda_high: float
    steps: int
    data_sha256: str
    commit: str
    parameters: int
    history: tuple[str, ...]
    evaluated_on: str
    rate_distortion: tuple[RatePoint, ...]

    def save(self, path: Path) -> None:
        """Write JSON."""
        path.write_text(json.dumps(asdict(self), indent=2) + "\n")

    @classmethod
    def load(cls, path: Path) -> ModelCard:
        """Read JSON; WeightsError when it is missing or not a card."""
        try:
            fields = json.loads(path.read_text())
            points = tuple(RatePoint(**point) for point in fields.pop("rate_distortion"))
            return cls(rate_distortion=points, **{**fields, "history": tuple(fields["history"])})
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise WeightsError(f"cannot read the model card {path.name}: {error}") from error
