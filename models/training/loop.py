"""Training the codec: what a step is, and on what."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from models.learned.objective import OBJECTIVES, Distortion
from models.network.autoencoder import AutoEncoder, Topology
from models.network.precision import transform_autocast
from models.training.crops import CropSampler
from models.training.positions import EMPHASISED_FROM, EMPHASISED_TO, sample_positions
from models.training.run import Run, Schedule


@dataclass(frozen=True, slots=True)
class Recipe(Schedule):
    """Everything that decides a run, stored in its checkpoint.

    Attributes:
        distortion: see `Objective`.
        trained: "all", or "prior": the hyperprior and the mean's context, for the rate alone (six times as many pixels in the same time).
        emphasised_to: end of the part of the gain axis that most samples come from, [0, 1]; photographs of 2048 pixels at 0.15 bits
            per pixel live up to 0.95.
        finale: share of the steps, at the end, on crops of twice the side, a quarter as many: what is coded is larger than crops are.
    """

    steps: int = 12_000
    batch: int = 8
    crop: int = 192
    learning_rate: float = 5e-4
    warmup: int = 300
    hold: float = 0.4
    averaging: float = 0.9995
    seed: int = 1
    distortion: Distortion = "mse"
    trained: Literal["all", "prior"] = "all"
    emphasised_to: float = EMPHASISED_TO
    finale: float = 0.1

    @property
    def finale_batch(self) -> int:
        """Crops a step of the finale."""
        return max(1, self.batch // 4)

    def described(self, steps: int) -> str:
        """So many steps of this, in words."""
        emphasised = f"mostly at {EMPHASISED_FROM} to {self.emphasised_to} of the gain axis"
        told = f"{steps} steps of {self.batch} crops of {self.crop}x{self.crop}, {self.distortion}, {emphasised}"
        large = steps - math.ceil((1 - self.finale) * self.steps)
        return told if large <= 0 else f"{told}, the last {large} of {self.finale_batch} of {2 * self.crop}x{2 * self.crop}"


class Trainer(Run[AutoEncoder]):
    """A run of the codec."""

    columns = ("loss", "mse", "bpp")

    def __init__(self, folder: Path, recipe: Recipe, model: AutoEncoder, *, device: str = "cpu") -> None:
        if recipe.trained == "prior":
            for part in (model.g_a, model.g_s):
                part.requires_grad_(False)
            model.gain.requires_grad_(False)
            model.inverse_gain.requires_grad_(False)
        super().__init__(folder, recipe, model, model.topology, device=device)
        self.recipe = recipe
        self.objective = OBJECTIVES[recipe.distortion]

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Gains and the prior of z move in log space, one scalar a channel, and take four times the learning rate.

        The loss after 500 steps was 0.87 with that and 1.31 without.
        """
        trained = [(name, p) for name, p in self.model.named_parameters() if p.requires_grad]
        fast = [p for name, p in trained if "gain" in name or name.startswith("prior_z")]
        slow = [p for name, p in trained if not ("gain" in name or name.startswith("prior_z"))]
        return [{"params": slow, "factor": 1.0}, {"params": fast, "factor": 4.0}]

    def run(self, sampler: CropSampler, *, save_every: int = 500, log_every: int = 50, report: Callable[[str], None] = print) -> None:
        """Train to the end of the recipe; the sampler must draw from `self.rng` for a resumed run to equal an unbroken one."""
        forward = torch.compile(self.model) if self.device.type == "cuda" else self.model
        larger = sampler.larger() if self.recipe.finale else sampler

        def step() -> tuple[float, float, float]:
            if self.step >= (1 - self.recipe.finale) * self.recipe.steps:
                return self._train_step(forward, larger, self.recipe.finale_batch)
            return self._train_step(forward, sampler, self.recipe.batch)

        self.repeat(step, save_every=save_every, log_every=log_every, report=report)

    def told(self, means: Iterable[float]) -> tuple[list[str], str]:
        """Loss, mean squared error, bits per pixel."""
        loss, mse, bpp = means
        values = [f"{loss:.5f}", f"{mse:.6f}", f"{bpp:.5f}"]
        return values, f"loss {values[0]}, mse {values[1]}, {values[2]} bpp"

    def _train_step(
        self, forward: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]], sampler: CropSampler, batch: int
    ) -> tuple[float, float, float]:
        x = sampler.batch(batch).to(self.device, non_blocking=True)
        position = sample_positions(batch, self.recipe.emphasised_to).to(self.device)
        quality = position * (self.model.topology.anchors - 1)
        with transform_autocast(self.device):
            if self.recipe.trained == "prior":
                x_hat, (_, _, bits) = x, self.model.predicted(self.model.g_a(x).float(), quality)
            else:
                x_hat, bits = forward(x, quality)
        loss = self.objective(x_hat, x, bits, position)
        self.descend(loss)
        with torch.no_grad():
            mse, bpp = (x_hat - x).square().mean(), bits.mean() / x.shape[-1] ** 2
        return loss.item(), mse.item(), bpp.item()


def averaged_model(checkpoint: Path) -> AutoEncoder:
    """The network of a checkpoint with its averaged weights."""
    state: dict[str, Any] = torch.load(checkpoint, map_location="cpu", weights_only=True)
    model = AutoEncoder(Topology.restored(state["topology"]))
    model.load_state_dict(state["average"])
    return model.eval()
