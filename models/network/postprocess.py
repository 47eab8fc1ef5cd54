"""The post-processor: takes the artefacts of a codec out of a decoded picture.

It has the published shape (Zhou et al. 2018, section 2.5; `tng2018.PostProcessor`): a convolution,
six residual blocks, a convolution, and a skip around them all. But it works on 4x4 pixels folded
into channels: 18,000 multiplications a pixel instead of 446,000, and it sees four times as far.

One set of weights serves every kind of source and every rate: the kind and coarseness of the source
scale and shift the features of each block (Perez et al., "FiLM: Visual Reasoning with a General
Conditioning Layer", 2018).

    x_hat --4x4 DCT--> conv3x3 --(scale, shift, residual block) x 6--> scale, shift, conv3x3 --+
      |                                     ^                                                  |
      |       kind, coarseness --two linear layers                                     inverse DCT
      |                                                                                        |
      +---------------------------------------------------------------------------------------(+)-->

Pixels are folded by a DCT of luma and chroma with amplified AC coefficients, because artefacts are
a hundredth of the range of 4x4 means. With pixels folded as they are, the same training gained only
a third (of JPEG's artefacts) to three quarters (AVIF's) as much.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.network.blocks import (
    NEGATIVE_SLOPE,
    Convolution,
    Pause,
    ResidualBlock,
    folded,
    unfolded,
    without_pause,
)
from models.network.dct import RGB_TO_YCBCR, dct_basis

AC_FACTOR = 20.0  # AC coefficients are multiplied by it on their way in
DC_FACTORS = (1.0, 2.0, 2.0)  # so are the means, of luma and both axes of chroma
RESIDUAL_FACTOR = 0.05  # the last convolution's output is multiplied by it on its way out


@dataclass(frozen=True, slots=True)
class PostTopology:
    """Sizes of a `PostNetwork`.

    Attributes:
        kinds: names of the sources' kinds, in the order of the condition.
        fold: pixels on a side that become channels of one place.
        channels: of the residual blocks.
        blocks: number of residual blocks.
        hidden: width of the layer between the condition and the features' scales.
    """

    kinds: tuple[str, ...]
    fold: int = 4
    channels: int = 48
    blocks: int = 6
    hidden: int = 32

    @property
    def reach(self) -> int:
        """Largest distance, in pixels, at which one pixel affects another in the result."""
        return self.fold * (2 * self.blocks + 2) + self.fold - 1


class PostNetwork(nn.Module):
    """A decoded picture and a condition to a better picture of the same size.

    Untrained it is the identity.
    """

    def __init__(self, topology: PostTopology) -> None:
        super().__init__()
        self.topology = topology
        coefficients = 3 * topology.fold**2
        channels = topology.channels
        self.dct = BlockTransform(topology.fold)
        self.first = Convolution(coefficients, channels, 3, 1, 1)
        self.blocks = nn.ModuleList(ResidualBlock(channels) for _ in range(topology.blocks))
        self.last = Convolution(channels, coefficients, 3, 1, 1)
        modulation = nn.Linear(topology.hidden, 2 * (topology.blocks + 1) * channels)
        self.modulation = nn.Sequential(
            nn.Linear(2 * len(topology.kinds), topology.hidden), nn.LeakyReLU(NEGATIVE_SLOPE), modulation
        )
        for parameter in (*self.last.parameters(), *modulation.parameters()):
            nn.init.zeros_(parameter)

    def condition(self, kind: int, coarseness: float) -> Tensor:
        """Encode what the source was: (2 * kinds,), zero but at the places of its kind.

        Args:
            kind: index in the topology's kinds.
            coarseness: of its quantisation, [0, 1].
        """
        condition = torch.zeros(2, len(self.topology.kinds))
        condition[0, kind] = 1.0
        condition[1, kind] = 2 * coarseness - 1
        return condition.flatten()

    def forward(self, x_hat: Tensor, condition: Tensor, pause: Pause = without_pause) -> Tensor:
        """Improve pictures.

        Args:
            x_hat: (N, 3, H, W) in [0, 1], H and W multiples of `fold`.
            condition: of each picture (N, 2 * kinds).
            pause: called between two blocks.

        Returns:
            (N, 3, H, W), in [0, 1] but for overshoot.
        """
        modulation = self.modulation(condition).view(len(x_hat), self.topology.blocks + 1, 2, -1, 1, 1)
        x = self.first(self.dct(x_hat))
        for number, block in enumerate(self.blocks):
            pause()
            x = block(_modulated(x, modulation[:, number]))
        residual = self.last(_modulated(x, modulation[:, -1]))
        return self.dct.inverse(residual).float().add_(x_hat)


class BlockTransform(nn.Module):
    """The DCT of blocks of pixels, in luma and chroma, amplified.

    Args:
        fold: pixels on a side of a block.
    """

    basis: Tensor
    amplification: Tensor

    def __init__(self, fold: int) -> None:
        super().__init__()
        self._fold = fold
        self._is_arranged = False
        amplification = torch.full((3, fold**2), AC_FACTOR)
        amplification[:, 0] = torch.tensor(DC_FACTORS)
        self.register_buffer("basis", _folding(fold), persistent=False)
        self.register_buffer("amplification", amplification.view(1, -1, 1, 1), persistent=False)

    def arrange(self) -> None:
        """Make the filters a matrix: coefficients by colours of pixels."""
        self.basis = self.basis.permute(0, 2, 3, 1).flatten(1)
        self.amplification = self.amplification.view(-1, 1)
        self._is_arranged = True

    def forward(self, x_hat: Tensor) -> Tensor:
        """Transform x_hat (N, 3, H, W) in [0, 1] to coefficients (N, 3 fold², H/fold, W/fold).

        It stays in float32: what a block's pixels have in common would hide the rest in bfloat16.
        """
        if self._is_arranged:
            matrix = self.basis * self.amplification
            pixels = folded(x_hat, self._fold).permute(0, 2, 3, 1)
            return F.linear(pixels, matrix, -0.5 * matrix.sum(1)).permute(0, 3, 1, 2)
        return F.conv2d(x_hat - 0.5, self.basis, stride=self._fold) * self.amplification

    def inverse(self, residual: Tensor) -> Tensor:
        """Transform small coefficients (N, 3 fold², h, w) to changes of pixels (N, 3, H, W)."""
        if self._is_arranged:
            matrix = (self.basis * RESIDUAL_FACTOR).to(residual.dtype)
            pixels = F.linear(residual.permute(0, 2, 3, 1), matrix.T)
            return unfolded(pixels.permute(0, 3, 1, 2), self._fold)
        return F.conv_transpose2d(residual * RESIDUAL_FACTOR, self.basis, stride=self._fold)


def _modulated(x: Tensor, modulation: Tensor) -> Tensor:
    """Compute x (1 + scale) + shift for x (N, C, h, w) and both of them in (N, 2, C, 1, 1)."""
    scale, shift = modulation[:, 0], modulation[:, 1]
    if len(x) == 1 and x.dtype == torch.bfloat16 and x.device.type == "cpu":
        # The same in one pass over the features, where the CPU takes three.
        ones = torch.ones_like(scale).flatten()
        return F.batch_norm(x, 0 * ones, ones, ones + scale.flatten(), shift.flatten(), eps=0.0)
    scale, shift = scale.to(x.dtype), shift.to(x.dtype)
    return torch.addcmul(x + shift, x, scale)


def _folding(size: int) -> Tensor:
    """Make the DCT-II of size x size pixels in luma and two axes of chroma.

    The filters (3 * size**2, 3, size, size) are orthonormal: their transpose is the inverse.
    """
    luma, blue, _ = torch.tensor(RGB_TO_YCBCR)
    luma = luma / luma.norm()
    blue = blue - (blue @ luma) * luma
    blue = blue / blue.norm()
    colour = torch.stack([luma, blue, torch.linalg.cross(luma, blue)])
    basis = dct_basis(size)
    return torch.einsum("ca,uy,vx->cuvayx", colour, basis, basis).reshape(3 * size**2, 3, size, size)
