"""Training the codec: its recipe, what a step is, and on what."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from models.learned.objective import OBJECTIVES, Distortion
from models.network.autoencoder import AutoEncoder, Topology
from models.network.precision import transform_autocast
from models.training.crops import CropSampler
from models.training.positions import EMPHASISED_FROM, EMPHASISED_TO, sample_shares
from models.training.run import Run, Schedule, read_checkpoint

FAST_FACTOR = 4.0  # learning rate of gains and the prior of z, relative to that of all else


@dataclass(frozen=True, slots=True)
class Recipe(Schedule):
    """Everything that decides a run, stored in its checkpoint.

    Attributes:
        distortion: see `Objective`.
        trained: "all", or "prior": the hyperprior and the mean's context, for the rate alone; six
            times as many pixels in the same time.
        emphasised_to: end of the part of the gain axis that most samples come from, [0, 1].
            Photographs of 2048 pixels at 0.15 bits per pixel are coded up to 0.95.
        finale: share of the steps, at the end, on crops of twice the side, a quarter as many: what
            is coded is larger than crops are.
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
    def finale_start(self) -> int:
        """First step of the finale."""
        return math.ceil((1 - self.finale) * self.steps)

    @property
    def finale_batch(self) -> int:
        """Crops of a step of the finale."""
        return max(1, self.batch // 4)

    def described(self, steps: int) -> str:
        """Put so many steps of this recipe into words, for a model card."""
        # Without super(): a dataclass with slots is another class than the one that it knows.
        emphasised = f"mostly at {EMPHASISED_FROM} to {self.emphasised_to} of the gain axis"
        words = f"{Schedule.described(self, steps)}, {self.distortion}, {emphasised}"
        larger = steps - self.finale_start
        if larger <= 0:
            return words
        return f"{words}, the last {larger} of {self.finale_batch} of {2 * self.crop}x{2 * self.crop}"


class Trainer(Run[AutoEncoder]):
    """A run of the codec.

    Args:
        folder: for the checkpoint and the log.
        recipe: decides everything.
        model: the network at its start.
        device: runs the training.
    """

    columns = ("loss", "mse", "bpp")

    def __init__(self, folder: Path, recipe: Recipe, model: AutoEncoder, *, device: str = "cpu") -> None:
        self.recipe = recipe
        self.objective = OBJECTIVES[recipe.distortion]
        if recipe.trained == "prior":
            _freeze_transforms(model)
        super().__init__(folder, recipe, model, model.topology, device=device)

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
        save_every: int = 500,
        log_every: int = 50,
        report: Callable[[str], None] = print,
    ) -> None:
        """Train to the end of the recipe; see `Run.repeat`.

        The sampler must draw from `self.rng` for a resumed run to equal an unbroken one.
        """
        forward = torch.compile(self.model) if self.device.type == "cuda" else self.model
        larger = sampler.larger() if self.recipe.finale else sampler

        def step() -> tuple[float, float, float]:
            if self.step >= self.recipe.finale_start:
                return self._train_step(forward, larger.batch(self.recipe.finale_batch))
            return self._train_step(forward, sampler.batch(self.recipe.batch))

        self.repeat(step, save_every=save_every, log_every=log_every, report=report)

    def log_entry(self, means: Iterable[float]) -> tuple[list[str], str]:
        """Tell loss, mean squared error and bits per pixel."""
        loss, mse, bpp = means
        values = [f"{loss:.5f}", f"{mse:.6f}", f"{bpp:.5f}"]
        return values, f"loss {values[0]}, mse {values[1]}, {values[2]} bpp"

    def _train_step(
        self, forward: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]], crops: Tensor
    ) -> tuple[float, float, float]:
        """Take a step on crops (N, 3, size, size); returns what `log_entry` tells."""
        x = crops.to(self.device, non_blocking=True)
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
        return loss.item(), mse.item(), bpp.item()


def averaged_model(checkpoint: Path) -> AutoEncoder:
    """Read the network of a checkpoint with its averaged weights."""
    state = read_checkpoint(checkpoint)
    model = AutoEncoder(Topology.restored(state["topology"]))
    model.load_state_dict(state["average"])
    return model.eval()


def _freeze_transforms(model: AutoEncoder) -> None:
    for part in (model.g_a, model.g_s):
        part.requires_grad_(False)
    model.gain.requires_grad_(False)
    model.inverse_gain.requires_grad_(False)
