"""The objective that a codec minimises: L = lambda D + R (Zhou et al. 2018, eq. 6).

Training minimises it over a continuum of lambdas, encoding with effort at one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from models.metrics import ms_ssim
from models.weights.card import Distortion, ModelCard

__all__ = ["FORMULAS", "OBJECTIVES", "Distortion", "Objective"]

FORMULAS: dict[Distortion, str] = {
    "mse": "MSE",
    "ms-ssim": "0.2 MSE + 0.8 (1 - MS-SSIM)",
}  # as in model cards


@dataclass(frozen=True, slots=True)
class Objective:
    """A distortion and the range of its weight.

    Attributes:
        distortion: "mse", D = mean squared error of pixels in [0, 1]; or "ms-ssim",
            D = 0.2 MSE + 0.8 (1 - MS-SSIM), the paper's.
        lambda_low: weight of D against R in bits per pixel at the low end of the gain axis.
        lambda_high: at its high end; between them lambda is log-linear.
    """

    distortion: Distortion
    lambda_low: float
    lambda_high: float

    @classmethod
    def of(cls, card: ModelCard) -> Objective:
        """The objective that a model was trained for."""
        return cls(card.objective, card.lambda_low, card.lambda_high)

    def lmbda(self, share: Tensor) -> Tensor:
        """Lambda at a share of the gain axis, [0, 1]."""
        return self.lambda_low * (self.lambda_high / self.lambda_low) ** share

    def measure(self, x_hat: Tensor, x: Tensor) -> Tensor:
        """Measure D of every image: (N, 3, H, W) in [0, 1] to (N,)."""
        mse = (x_hat - x).square().mean((1, 2, 3))
        if self.distortion == "mse":
            return mse
        return 0.2 * mse + 0.8 * (1 - ms_ssim(x_hat.clamp(0, 1), x))

    def __call__(self, x_hat: Tensor, x: Tensor, bits: Tensor, share: Tensor) -> Tensor:
        """Compute the scalar training loss.

        Division by sqrt(lambda) keeps low rates from being drowned by high ones.

        Args:
            x_hat: pictures (N, 3, H, W).
            x: their originals.
            bits: rate of each (N,).
            share: place of each on the gain axis, [0, 1], (N,).
        """
        lmbda = self.lmbda(share)
        rate = bits / math.prod(x.shape[-2:])
        return (10 * (lmbda * self.measure(x_hat, x) + rate) / lmbda.sqrt()).mean()


OBJECTIVES: dict[Distortion, Objective] = {
    "mse": Objective("mse", 4.17, 5793.0),
    "ms-ssim": Objective("ms-ssim", 0.1667, 231.7),
}
