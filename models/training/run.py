"""A training run in a folder: it resumes, logs, averages its weights, and stops when asked to."""

from __future__ import annotations

import csv
import io
import math
import signal
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, TypedDict, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR
from torch.optim.swa_utils import AveragedModel

from models.files import write_atomically
from models.network.autoencoder import Topology
from models.network.postprocess import PostTopology
from models.network.precision import placed

CHECKPOINT = "checkpoint.pt"
LOG = "log.csv"
LAST_SHARE = 0.005  # of the learning rate, at the end of its decay
GRADIENT_NORM = 1.0  # gradients of a larger norm, over all weights, are scaled down to it

Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True, slots=True)
class Schedule:
    """Everything that each recipe decides.

    Attributes:
        steps: optimiser steps of the whole run.
        batch: crops of a step.
        crop: their side in pixels.
        learning_rate: at its height.
        warmup: steps of linear warm-up.
        hold: share of the steps before the cosine decay begins.
        averaging: decay of the exponential moving average of the weights; see `average`.
        seed: of all that is random.
    """

    steps: int
    batch: int
    crop: int
    learning_rate: float
    warmup: int
    hold: float
    averaging: float
    seed: int

    def learning_rate_share(self, step: int) -> float:
        """Share (0, 1] of the learning rate that `step`, counted from 0, takes."""
        warm = min(1.0, (step + 1) / self.warmup)
        decayed = min(1.0, max(0.0, (step / self.steps - self.hold) / (1 - self.hold)))
        return warm * (LAST_SHARE + (1 - LAST_SHARE) * 0.5 * (1 + math.cos(math.pi * decayed)))

    def average(self, averages: Sequence[Tensor], weights: Sequence[Tensor], count: Tensor | int) -> None:
        """Move the averages towards the weights, in place; `count` weights are in them.

        The decay grows from 1/10 to `averaging`, so that the starting weights are soon forgotten.
        """
        decay = min(self.averaging, int(count) / (9 + int(count)))
        torch._foreach_lerp_(list(averages), list(weights), 1 - decay)

    def described(self, steps: int) -> str:
        """Put so many steps of this recipe into words, for a model card."""
        return f"{steps} steps of {self.batch} crops of {self.crop}x{self.crop}"


class Checkpoint(TypedDict):
    """A stopped run: all that it needs to go on, and that an export needs to describe it.

    Attributes:
        recipe: fields of the recipe.
        topology: fields of the network's topology.
        model: weights by name.
        average: averaged weights by name.
        optimizer: its state, without what the recipe decides.
        rng: state of NumPy's generator.
        noise: state of torch's generator.
        step: steps done.
        seconds: that they took.
    """

    recipe: dict[str, Any]
    topology: dict[str, Any]
    model: dict[str, Tensor]
    average: dict[str, Tensor]
    optimizer: dict[int, Any]
    rng: Any
    noise: Tensor
    step: int
    seconds: float


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint into the CPU's memory."""
    checkpoint: Checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    return checkpoint


def history_line(recipe: Schedule, checkpoint: Checkpoint) -> str:
    """Put a run into a line of a model card."""
    words = recipe.described(checkpoint["step"])
    minutes = checkpoint["seconds"] / 60
    return f"{words}, {minutes:.0f} minutes, weights averaged at {recipe.averaging}"


class Run(ABC, Generic[Network]):
    """One run in one folder, until its steps are done or a SIGTERM or SIGINT asks it to stop.

    On the CPU a resumed run equals an unbroken one. A kind of training says what a step is, and
    what the log tells of the steps.

    Args:
        folder: for the checkpoint and the log; created when missing.
        schedule: the recipe.
        model: the network at its start.
        topology: of the network, for the checkpoint.
        device: runs the training.
    """

    columns: ClassVar[tuple[str, ...]]
    """Names of the log's columns after step, seconds and learning rate."""

    def __init__(
        self,
        folder: Path,
        schedule: Schedule,
        model: Network,
        topology: Topology | PostTopology,
        *,
        device: str,
    ) -> None:
        self.folder = folder
        self.schedule = schedule
        self.topology = topology
        self.device = torch.device(device)
        self.model = placed(model, self.device)
        self.restart_average()
        self.rng = np.random.default_rng(schedule.seed)
        torch.manual_seed(schedule.seed)
        self.step = 0
        self.seconds = 0.0
        self.optimizer = torch.optim.Adam(self.parameter_groups(), schedule.learning_rate, fused=True)
        self._scheduler = LambdaLR(self.optimizer, schedule.learning_rate_share)
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

    def restart_average(self) -> None:
        """Average from the weights as they are."""
        self._average = AveragedModel(self.model, multi_avg_fn=self.schedule.average)
        self._average.update_parameters(self.model)  # the starting weights count

    @property
    def average(self) -> dict[str, Tensor]:
        """Averaged weights by name."""
        return self._average.module.state_dict()

    @property
    def checkpoint(self) -> Path:
        """Path of the checkpoint."""
        return self.folder / CHECKPOINT

    def save(self) -> None:
        """Write the checkpoint, atomically."""
        checkpoint = Checkpoint(
            recipe=asdict(self.schedule),
            topology=asdict(self.topology),
            model=self.model.state_dict(),
            average=self.average,
            optimizer=self.optimizer.state_dict()["state"],
            rng=self.rng.bit_generator.state,
            noise=torch.get_rng_state(),
            step=self.step,
            seconds=self.seconds,
        )
        content = io.BytesIO()
        torch.save(checkpoint, content)
        write_atomically(self.checkpoint, content.getvalue())

    def resume(self) -> None:
        """Go on from the checkpoint in the folder, by the recipe of now: it may have more steps."""
        checkpoint = read_checkpoint(self.checkpoint)
        self.model.load_state_dict(checkpoint["model"])
        self._average.module.load_state_dict(checkpoint["average"])
        self._average.n_averaged.fill_(checkpoint["step"] + 1)
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": checkpoint["optimizer"], "param_groups": groups})
        self.rng.bit_generator.state = checkpoint["rng"]
        torch.set_rng_state(checkpoint["noise"])
        self.step = checkpoint["step"]
        self.seconds = checkpoint["seconds"]
        self._scheduler = LambdaLR(self.optimizer, self.schedule.learning_rate_share, self.step - 1)

    def repeat(
        self,
        train_step: Callable[[], tuple[float, ...]],
        *,
        save_every: int,
        log_every: int,
        report: Callable[[str], None],
    ) -> None:
        """Take steps to the end of the schedule.

        Args:
            train_step: takes one step, and returns what the log takes the means of. All that is
                random in it comes from `rng` or torch.
            save_every: steps from one checkpoint to the next.
            log_every: steps from one entry of the log to the next.
            report: told every entry of the log in words.
        """
        returned: list[tuple[float, ...]] = []
        started = time.monotonic() - self.seconds
        with _stop_signals() as stopping:
            while self.step < self.schedule.steps and not stopping:
                returned.append(train_step())
                self.step += 1
                self.seconds = time.monotonic() - started
                if self.step % log_every == 0:
                    self._log(returned, report)
                    returned.clear()
                if self.step % save_every == 0:
                    self.save()
        self.save()

    def descend(self, loss: Tensor) -> None:
        """Take one step of the optimiser, its learning rate and the average."""
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.model.parameters(), GRADIENT_NORM)
        self.optimizer.step()
        self._scheduler.step()
        self._average.update_parameters(self.model)

    def _log(self, returned: Sequence[tuple[float, ...]], report: Callable[[str], None]) -> None:
        values, words = self.log_entry(np.mean(returned, 0).tolist())
        learning_rate = self.schedule.learning_rate * self.schedule.learning_rate_share(self.step - 1)
        path = self.folder / LOG
        is_new = not path.exists()
        with path.open("a", newline="") as file:
            writer = csv.writer(file)
            if is_new:
                writer.writerow(["step", "seconds", "learning_rate", *self.columns])
            writer.writerow([self.step, round(self.seconds, 1), f"{learning_rate:.3g}", *values])
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
