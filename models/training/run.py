"""A training run in a folder: it resumes, logs, averages its weights, and may end at any step.

The optimiser is schedule-free AdamW (Defazio et al., "The Road Less Scheduled", 2024). It keeps a
running average of its steps in place of a decay of the learning rate. So no run has to know its
length.
"""

from __future__ import annotations

import copy
import csv
import io
import json
import signal
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, Self, TypedDict, TypeVar

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save as to_bytes
from schedulefree import AdamWScheduleFree
from torch import Tensor, nn

from models.files import write_atomically
from models.network.autoencoder import Topology
from models.network.postprocess import PostTopology
from models.network.precision import placed

CHECKPOINT = "checkpoint.pt"
WEIGHTS = "weights.safetensors"
LOG = "log.csv"
ABOUT = "run"  # key of the file of weights' metadata
BETAS = (0.9, 0.999)  # of AdamW; the first is the share of the average in where a gradient is taken
GRADIENT_NORM = 1.0  # gradients of a larger norm, over all weights, are scaled down to it

Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True, slots=True)
class Schedule:
    """Everything that each recipe decides.

    Attributes:
        steps: optimiser steps of the whole run.
        batch: crops of a step.
        crop: their side in pixels.
        learning_rate: after the warm-up.
        warmup: steps of linear warm-up.
        minutes: after which the run ends even with fewer steps.
        seed: of all that is random.
    """

    steps: int
    batch: int
    crop: int
    learning_rate: float
    warmup: int
    minutes: float
    seed: int

    def described(self, steps: int) -> str:
        """Put so many steps of this recipe into words, for a model card."""
        return f"{steps} steps of {self.batch} crops of {self.crop}x{self.crop}"


class Checkpoint(TypedDict):
    """All that a stopped run needs to go on.

    Attributes:
        model: weights by name, where the next gradient is taken.
        optimizer: its state, whose averages are what the run is for.
        rng: state of NumPy's generator.
        noise: state of torch's generator.
        step: steps done.
        seconds: that they took.
    """

    model: dict[str, Tensor]
    optimizer: dict[str, Any]
    rng: Any
    noise: Tensor
    step: int
    seconds: float


@dataclass(frozen=True, slots=True, eq=False)
class RunWeights:
    """Weights of a run, and their history: the file that an export or another run starts from.

    Attributes:
        recipe: fields of the recipe.
        topology: fields of the network's topology.
        step: steps done.
        seconds: that they took.
        weights: the averages by name; those of layers in half precision.
    """

    recipe: dict[str, Any]
    topology: dict[str, Any]
    step: int
    seconds: float
    weights: dict[str, Tensor]

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a file. KeyError where it is not a run's, but an exported model's."""
        with safe_open(path, "pt") as file:
            about = json.loads(file.metadata()[ABOUT])
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # not a mapping
        return cls(**about, weights=weights)

    def save(self, path: Path) -> None:
        """Write a .safetensors file, atomically."""
        about = {"recipe": self.recipe, "topology": self.topology, "step": self.step, "seconds": self.seconds}
        write_atomically(path, to_bytes(self.weights, {ABOUT: json.dumps(about)}))

    def history_line(self, recipe: Schedule) -> str:
        """Put the run into a line of a model card."""
        return f"{recipe.described(self.step)}, {self.seconds / 60:.0f} minutes, schedule-free AdamW"


class Run(ABC, Generic[Network]):
    """One run in one folder, until its steps are done or a SIGTERM or SIGINT asks it to stop.

    On the CPU a resumed run equals an unbroken one. A kind of training says what a step is, and
    what the log tells of the steps.

    Args:
        folder: for the checkpoint, the weights and the log; created when missing.
        schedule: the recipe.
        model: the network at its start.
        topology: of the network, for the file of weights.
        rng: what the crops are drawn from, at its start.
        device: runs the training.
    """

    columns: ClassVar[tuple[str, ...]]
    """Names of the log's columns after step and seconds."""

    def __init__(
        self,
        folder: Path,
        schedule: Schedule,
        model: Network,
        topology: Topology | PostTopology,
        rng: np.random.Generator,
        *,
        device: str,
    ) -> None:
        self.folder = folder
        self.schedule = schedule
        self.topology = topology
        self.device = torch.device(device)
        self.model = placed(model, self.device)
        self.rng = rng
        torch.manual_seed(schedule.seed)
        self.step = 0
        self.seconds = 0.0
        self.optimizer = AdamWScheduleFree(
            self.parameter_groups(), schedule.learning_rate, betas=BETAS, warmup_steps=schedule.warmup
        )
        self.optimizer.train()
        folder.mkdir(parents=True, exist_ok=True)

    @abstractmethod
    def parameter_groups(self) -> list[dict[str, Any]]:
        """List the groups of what is trained: "params", and "lr" where it is not the recipe's."""

    @abstractmethod
    def log_entry(self, means: Iterable[float]) -> tuple[list[str], str]:
        """Make the log's columns, and a line in words, of the means of what steps returned.

        Args:
            means: over the steps since the last entry, one for each value that a step returns.
        """

    def weights_of(self, averaged: Network) -> dict[str, Tensor]:
        """Turn a network as it is trained into the weights of the one that is served."""
        return averaged.state_dict()

    @property
    def checkpoint(self) -> Path:
        """Path of the checkpoint."""
        return self.folder / CHECKPOINT

    @torch.no_grad()
    def trained(self) -> RunWeights:
        """Give the averages, without a change to the run.

        The optimiser could swap them in and out, but for a rounding that would remain.
        """
        averaged = copy.deepcopy(self.model)
        for parameter, average in zip(self.model.parameters(), averaged.parameters(), strict=True):
            state = self.optimizer.state.get(parameter, {})
            if "z" in state:  # which nothing frozen has, and nothing before the first step
                average.lerp_(state["z"], 1 - 1 / BETAS[0])
        weights = {
            name: (tensor.half() if name.endswith("weight") else tensor).cpu().contiguous()
            for name, tensor in self.weights_of(averaged).items()
        }
        return RunWeights(asdict(self.schedule), asdict(self.topology), self.step, self.seconds, weights)

    def save(self) -> None:
        """Write the checkpoint and the weights, each atomically."""
        checkpoint = Checkpoint(
            model=self.model.state_dict(),
            optimizer=self.optimizer.state_dict(),
            rng=self.rng.bit_generator.state,
            noise=torch.get_rng_state(),
            step=self.step,
            seconds=self.seconds,
        )
        content = io.BytesIO()
        torch.save(checkpoint, content)
        write_atomically(self.checkpoint, content.getvalue())
        self.trained().save(self.folder / WEIGHTS)

    def resume(self) -> None:
        """Go on from the checkpoint in the folder, by the recipe of now: it may have more steps."""
        checkpoint: Checkpoint = torch.load(self.checkpoint, map_location="cpu", weights_only=True)
        self.model.load_state_dict(checkpoint["model"])
        rates = [group["lr"] for group in self.optimizer.param_groups]
        self.optimizer.load_state_dict(checkpoint["optimizer"])
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            group |= {"lr": rate, "warmup_steps": self.schedule.warmup}
        self.rng.bit_generator.state = checkpoint["rng"]
        torch.set_rng_state(checkpoint["noise"])
        self.step = checkpoint["step"]
        self.seconds = checkpoint["seconds"]

    def repeat(
        self,
        train_step: Callable[[], Tensor],
        *,
        save_every: float,
        log_every: int,
        report: Callable[[str], None],
    ) -> None:
        """Take steps to the end of the schedule.

        Args:
            train_step: takes one step, and returns what the log takes the means of, in one tensor
                on the device. All that is random in it comes from `rng` or torch.
            save_every: seconds from one checkpoint to the next.
            log_every: steps from one entry of the log to the next.
            report: told every entry of the log in words.
        """
        returned: list[Tensor] = []
        started = time.monotonic() - self.seconds
        saved = self.seconds
        with _stop_signals() as stopping:
            while self._has_more_to_do() and not stopping:
                returned.append(train_step())
                self.step += 1
                self.seconds = time.monotonic() - started
                if self.step % log_every == 0:
                    self._log(torch.stack(returned).mean(0).tolist(), report)
                    returned.clear()
                if self.seconds - saved >= save_every:
                    self.save()
                    saved = self.seconds
        self.save()

    def descend(self, loss: Tensor) -> None:
        """Take one step of the optimiser."""
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.model.parameters(), GRADIENT_NORM)
        self.optimizer.step()

    def _has_more_to_do(self) -> bool:
        return self.step < self.schedule.steps and self.seconds < 60 * self.schedule.minutes

    def _log(self, means: Sequence[float], report: Callable[[str], None]) -> None:
        values, words = self.log_entry(means)
        path = self.folder / LOG
        is_new = not path.exists()
        with path.open("a", newline="") as file:
            writer = csv.writer(file)
            if is_new:
                writer.writerow(["step", "seconds", *self.columns])
            writer.writerow([self.step, round(self.seconds, 1), *values])
        report(f"step {self.step} of {self.schedule.steps}, {self.seconds:.1f} s: {words}")


@contextmanager
def _stop_signals() -> Iterator[list[int]]:
    """Collect SIGTERM and SIGINT in a list while the context is open, instead of ending."""
    received: list[int] = []
    handlers = {
        number: signal.signal(number, lambda number, _: received.append(number))
        for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        yield received
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
