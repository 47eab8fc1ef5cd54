"""Training the codec: its recipe, what a step is, and on what."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from models.learned.objective import Distortion, Objective
from models.network.autoencoder import AutoEncoder, Topology
from models.network.precision import transform_autocast
from models.training.crops import CropSampler
from models.training.positions import EMPHASISED_FROM, EMPHASISED_TO, sample_shares
from models.training.rebase import rebase, settled
from models.training.run import Run, RunWeights, Schedule

FAST_FACTOR = 4.0  # learning rate of gains and the prior of z, relative to that of all else


@dataclass(frozen=True, slots=True)
class Recipe(Schedule):
    """Everything that decides a run, stored beside its weights.

    Attributes:
        distortion: see `Objective`.
        trained: "all"; "prior", the hyperprior and the mean's context, for the rate alone and on
            six times as many pixels in the same time; or "decoder", what turns symbols into pixels,
            for the distortion alone.
        emphasised_to: end of the part of the gain axis that most samples come from, [0, 1].
    """

    steps: int = 12_000
    batch: int = 4
    crop: int = 192
    learning_rate: float = 3e-4
    warmup: int = 100
    minutes: float = math.inf
    seed: int = 1
    distortion: Distortion = "mse"
    trained: Literal["all", "prior", "decoder"] = "all"
    emphasised_to: float = EMPHASISED_TO

    def described(self, steps: int) -> str:
        """Put so many steps of this recipe into words, for a model card."""
        # Without super(): a dataclass with slots is another class than the one that it knows.
        emphasised = f"mostly at {EMPHASISED_FROM} to {self.emphasised_to} of the gain axis"
        part = "" if self.trained == "all" else f", {self.trained} alone"
        return f"{Schedule.described(self, steps)}, {self.distortion}{part}, {emphasised}"


class Trainer(Run[AutoEncoder]):
    """A run of the codec.

    Args:
        folder: for the checkpoint and the log.
        recipe: decides everything.
        model: the network at its start.
        rng: what the crops are drawn from, at its start.
        device: runs the training.
    """

    columns = ("loss", "mse", "bpp")

    def __init__(
        self,
        folder: Path,
        recipe: Recipe,
        model: AutoEncoder,
        rng: np.random.Generator,
        *,
        device: str = "cpu",
    ) -> None:
        self.recipe = recipe
        self.objective = Objective.trained(recipe.distortion, model.topology.anchors)
        _freeze_all_but(model, recipe.trained)
        rebase(model)
        super().__init__(folder, recipe, model, model.topology, rng, device=device)

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Give gains and the prior of z, which are logarithms, one a channel, a higher rate.

        With it the loss after the first 500 steps was 0.87, and 1.31 without.
        """
        fast: list[nn.Parameter] = []
        slow: list[nn.Parameter] = []
        for name, parameter in self.model.named_parameters():
            if parameter.requires_grad:
                is_fast = "gain" in name or name.startswith("prior_z")
                (fast if is_fast else slow).append(parameter)
        return [{"params": slow}, {"params": fast, "lr": FAST_FACTOR * self.recipe.learning_rate}]

    def run(
        self,
        sampler: CropSampler,
        *,
        save_every: float = 60,
        log_every: int = 50,
        report: Callable[[str], None] = print,
    ) -> None:
        """Train to the end of the recipe; see `Run.repeat`.

        The sampler draws from the run's `rng`, so that a resumed run equals an unbroken one.
        """
        forward = torch.compile(self.model) if self.device.type == "cuda" else self.model
        self.repeat(
            lambda: self._train_step(forward, sampler.batch(self.recipe.batch)),
            save_every=save_every,
            log_every=log_every,
            report=report,
        )

    def log_entry(self, means: Iterable[float]) -> tuple[list[str], str]:
        """Tell loss, mean squared error and bits per pixel."""
        loss, mse, bpp = means
        values = [f"{loss:.5f}", f"{mse:.6f}", f"{bpp:.5f}"]
        return values, f"loss {values[0]}, mse {values[1]}, {values[2]} bpp"

    def weights_of(self, averaged: AutoEncoder) -> dict[str, Tensor]:
        """Multiply out what is trained as products."""
        return settled(averaged)

    def _train_step(self, forward: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]], x: Tensor) -> Tensor:
        """Take a step on crops (N, 3, size, size); returns what `log_entry` tells."""
        share = sample_shares(len(x), self.recipe.emphasised_to).to(self.device)
        anchor = share * (self.model.topology.anchors - 1)
        with transform_autocast(self.device):
            if self.recipe.trained == "prior":
                x_hat = x
                _, _, bits = self.model.predicted(self.model.g_a(x).float(), anchor)
            else:
                x_hat, bits = forward(x, anchor)
        loss = self.objective(x_hat, x, bits, share)
        self.descend(loss)
        with torch.no_grad():
            mse = (x_hat - x).square().mean()
            bpp = bits.mean() / x.shape[-1] ** 2
        return torch.stack([loss.detach(), mse, bpp])


def trained_network(path: Path) -> AutoEncoder:
    """Read the network that a run has come to."""
    trained = RunWeights.load(path)
    model = AutoEncoder(Topology.restored(trained.topology))
    model.load_state_dict(trained.weights)  # which makes them float32
    return model.eval()


def _freeze_all_but(model: AutoEncoder, trained: str) -> None:
    if trained == "prior":
        frozen: list[nn.Module | nn.Parameter] = [model.g_a, model.g_s, model.gain, model.inverse_gain]
    elif trained == "decoder":
        symbols = [model.g_a, model.h_a, model.h_scale, model.h_mean, model.context, model.prior_z]
        frozen = [*symbols, model.gain]
    else:
        frozen = []
    for part in frozen:
        part.requires_grad_(False)
