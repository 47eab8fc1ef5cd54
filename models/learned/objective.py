"""The objective that a codec minimises: L = lambda D + R (Zhou et al. 2018, eq. 6).

Training minimises it over a continuum of lambdas, encoding with effort at one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from models.metrics import ms_ssim
from models.metrics.contrast_sensitivity import seen_squared_error
from models.weights.card import Distortion, ModelCard

__all__ = ["FORMULAS", "Distortion", "Objective", "measure"]

# Of `visual`: the squared error against 1 - MS-SSIM, as JPEG AI weighs them, and the parts in it of
# luma as it is seen, of each chroma plane, and of each chroma plane seen from afar.
SQUARED_ERROR = 43.0
LUMA, CHROMA, FAR_CHROMA = 0.3, 0.4, 1.5
FAR = 8  # pixels on a side that are averaged to see it so
# BT.709 over the full range: Y, Cb and Cr of R, G and B.
RGB_TO_YCBCR = (
    (0.2126, 0.7152, 0.0722),
    (-0.1146, -0.3854, 0.5),
    (0.5, -0.4542, -0.0458),
)

LAMBDA_LOW: dict[Distortion, float] = {"mse": 4.17, "ms-ssim": 0.1667, "visual": 0.058}
LAMBDA_PER_ANCHOR = 1.9307  # factor of lambda from one gain anchor to the next; the rate takes about 1.3

FORMULAS: dict[Distortion, str] = {
    "mse": "MSE",
    "ms-ssim": "0.2 MSE + 0.8 (1 - MS-SSIM)",
    "visual": (
        f"{SQUARED_ERROR:g} ({LUMA} MSE of Y as seen + {CHROMA} MSE of Cb and Cr + {FAR_CHROMA} of them "
        f"averaged over {FAR}x{FAR}) + 1 - MS-SSIM of Y"
    ),
}  # as in model cards


@dataclass(frozen=True, slots=True)
class Objective:
    """A distortion and the range of its weight.

    Attributes:
        distortion: "mse", D = mean squared error of pixels in [0, 1]; or "ms-ssim",
            D = 0.2 MSE + 0.8 (1 - MS-SSIM), the paper's; or "visual", for people, see `_visual`.
        lambda_low: weight of D against R in bits per pixel at the low end of the gain axis.
        lambda_high: at its high end; between them lambda is log-linear.
    """

    distortion: Distortion
    lambda_low: float
    lambda_high: float

    @classmethod
    def trained(cls, distortion: Distortion, anchors: int) -> Objective:
        """Make the objective that a network with so many gain anchors is trained for."""
        low = LAMBDA_LOW[distortion]
        return cls(distortion, low, low * LAMBDA_PER_ANCHOR ** (anchors - 1))

    @classmethod
    def of(cls, card: ModelCard) -> Objective:
        """The objective that a model was trained for."""
        return cls(card.objective, card.lambda_low, card.lambda_high)

    def lmbda(self, share: Tensor) -> Tensor:
        """Lambda at a share of the gain axis, [0, 1]."""
        return self.lambda_low * (self.lambda_high / self.lambda_low) ** share

    def measure(self, x_hat: Tensor, x: Tensor) -> Tensor:
        """Measure D of every image: (N, 3, H, W) in [0, 1] to (N,)."""
        return measure(self.distortion, x_hat, x)

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


def measure(distortion: Distortion, x_hat: Tensor, x: Tensor) -> Tensor:
    """Measure the distortion of every image: (N, 3, H, W) in [0, 1] to (N,)."""
    if distortion == "visual":
        return _visual(x_hat, x)
    mse = (x_hat - x).square().mean((1, 2, 3))
    if distortion == "mse":
        return mse
    return 0.2 * mse + 0.8 * (1 - ms_ssim(x_hat.clamp(0, 1), x))


def _visual(x_hat: Tensor, x: Tensor) -> Tensor:
    """Measure what people see: (N, 3, H, W) in [0, 1] to (N,).

    MS-SSIM keeps the structure of luma, and squared errors keep its brightness, letters and colour:
    a decoder that is trained for MS-SSIM alone lets them drift. JPEG AI mixes the two in this
    proportion. The error of luma counts by frequency as people see it. Of fine chroma they see
    little, but patches of a wrong colour at once.
    """
    with torch.autocast(x.device.type, enabled=False):
        x_hat = x_hat.float().clamp(0, 1)
        planes = x.new_tensor(RGB_TO_YCBCR)
        error = torch.einsum("nchw,pc->nphw", x_hat - x, planes)
        fine = error[:, 1:].square().mean((2, 3)).sum(1)
        far = F.avg_pool2d(error[:, 1:], FAR).square().mean((2, 3)).sum(1)
        squared = LUMA * seen_squared_error(error[:, 0]) + CHROMA * fine + FAR_CHROMA * far
        luma_hat, luma = (torch.einsum("nchw,c->nhw", image, planes[0])[:, None] for image in (x_hat, x))
        return SQUARED_ERROR * squared + 1 - ms_ssim(luma_hat, luma)
