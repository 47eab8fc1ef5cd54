"""Window: a part of a picture whose residuals are being refined, and lambda D + R of any residuals
in it.

y_hat = r + mean. A residual also changes the means of later passes: those of up to eight
neighbours.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from models.entropy.code_lengths import CodeLengths
from models.learned.objective import Objective
from models.learned.transforms import Transforms
from models.network.autoencoder import ResidualsOf


@dataclass(frozen=True, slots=True, eq=False)
class Window:
    """Everything that stays fixed while the residuals of a part of the picture are refined.

    Attributes:
        transforms: of the model.
        objective: of the model.
        code_lengths: of the model's tables.
        lmbda: weight of D against R in bits per pixel.
        x: the pixels (1, 3, H, W) in [0, 1], not padded.
        start: residuals to start from (1, M, h, w), integers.
        indices: table of every residual by the scale decoder (1, M, h, w).
        movable: residuals that may change (1, M, h, w), bool: those of the window proper and not
            under table 0, and none around it.
        z_mean: prediction of scaled y from z alone (1, M, h, w).
        anchor: place between the network's gain anchors (1,).
        postprocess: maps x_hat (1, 3, H, W) to the picture that is looked at; the identity where
            that is x_hat.
    """

    transforms: Transforms
    objective: Objective
    code_lengths: CodeLengths
    lmbda: float
    x: Tensor
    start: Tensor
    indices: Tensor
    movable: Tensor
    z_mean: Tensor
    anchor: Tensor
    postprocess: Callable[[Tensor], Tensor]

    def tables(self, residuals: Tensor) -> Tensor:
        """Table of every residual (1, M, h, w), as its context corrects it."""
        return self.code_lengths.corrected(self.indices, residuals)

    def bits(self, residuals: Tensor, tables: Tensor) -> float:
        """Code length of all residuals, movable or not: a step changes the tables of others."""
        return float(self.code_lengths.under(tables, residuals).double().sum())

    def mean(self, residuals_of: ResidualsOf) -> Tensor:
        """Predict scaled y (1, M, h, w) from z and what is decoded before it.

        See `AutoEncoder.mean_in_context`.
        """
        with self.transforms.autocast():
            return self.transforms.network.mean_in_context(self.z_mean, self.anchor, residuals_of)

    def mean_of(self, residuals: Tensor) -> Tensor:
        """Predict scaled y (1, M, h, w) where all residuals (1, M, h, w) are known."""
        with torch.no_grad():
            return self.mean(lambda low: residuals[:, : low.shape[1]])

    def loss(self, residuals: Tensor) -> float:
        """Lambda D + R in bits."""
        with torch.no_grad():
            distortion = self.distortion(residuals, self.mean_of(residuals))
        return float(distortion) + self.bits(residuals, self.tables(residuals))

    def distortion(self, residuals: Tensor, mean: Tensor) -> Tensor:
        """Lambda D in bits, a scalar; differentiable."""
        height, width = self.x.shape[-2:]
        with self.transforms.autocast():
            x_hat = self.transforms.network.reconstruct(residuals, mean, self.anchor)[..., :height, :width]
        return self.objective.measure(self.postprocess(x_hat), self.x).sum() * (self.lmbda * height * width)
