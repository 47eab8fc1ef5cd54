"""A training run in a folder: resumes from its checkpoint, logs to CSV, keeps an exponential moving average, stops when it is asked to."""

from __future__ import annotations

import csv
import math
import signal
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from models.network.precision import placed

CHECKPOINT = "checkpoint.pt"
LOG = "log.csv"

Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True, slots=True)
class Schedule:
    """What every recipe decides.

    Attributes:
        steps: optimiser steps of the whole run.
        batch, crop: crops a step and their side in pixels.
        learning_rate: at its height.
        warmup: steps of linear warm-up.
        hold: share of the steps before the cosine decay to zero begins.
        averaging: decay of the exponential moving average of the weights; it starts faster.
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

    def learning_rate_at(self, step: int) -> float:
        """The learning rate of `step` (counted from 0)."""
        warm = min(1.0, (step + 1) / self.warmup)
        done = max(0.0, (step / self.steps - self.hold) / (1 - self.hold))
        return self.learning_rate * warm * (0.005 + 0.995 * 0.5 * (1 + math.cos(math.pi * min(done, 1.0))))


class Run(ABC, Generic[Network]):
    """One run in one folder, until the schedule's steps are done or a SIGTERM or SIGINT asks it to stop.

    On the CPU a resumed run equals an unbroken one. A kind of training says what a step is, and what the log tells of the steps.
    """

    columns: ClassVar[tuple[str, ...]]  # of the log, after step, seconds and learning rate

    def __init__(self, folder: Path, schedule: Schedule, model: Network, topology: Any, *, device: str) -> None:
        self.folder, self.schedule, self.topology, self.device = folder, schedule, topology, torch.device(device)
        self.model = placed(model, self.device)
        self.restart_average()
        self.rng = np.random.default_rng(schedule.seed)
        torch.manual_seed(schedule.seed)
        self.step, self.seconds = 0, 0.0
        self.optimizer = torch.optim.Adam(self.parameter_groups(), schedule.learning_rate, fused=True)
        folder.mkdir(parents=True, exist_ok=True)

    @abstractmethod
    def parameter_groups(self) -> list[dict[str, Any]]:
        """What is trained: "params", and "factor" of the learning rate."""

    @abstractmethod
    def told(self, means: Iterable[float]) -> tuple[list[str], str]:
        """The log's columns, and words, for the means of what the steps since the last line gave."""

    def restart_average(self) -> None:
        """Average from the weights as they are."""
        self.average = {name: tensor.detach().clone() for name, tensor in self.model.state_dict().items()}

    @property
    def checkpoint(self) -> Path:
        """Where the run is kept."""
        return self.folder / CHECKPOINT

    def save(self) -> None:
        """Write the checkpoint, atomically."""
        state = {
            "recipe": asdict(self.schedule),
            "topology": asdict(self.topology),
            "model": self.model.state_dict(),
            "average": self.average,
            "optimizer": self.optimizer.state_dict(),
            "rng": self.rng.bit_generator.state,
            "noise": torch.get_rng_state(),
            "step": self.step,
            "seconds": self.seconds,
        }
        torch.save(state, self.checkpoint.with_suffix(".partial"))
        self.checkpoint.with_suffix(".partial").replace(self.checkpoint)

    def resume(self) -> None:
        """Go on from the checkpoint in the folder."""
        state: dict[str, Any] = torch.load(self.checkpoint, map_location="cpu", weights_only=True)
        self.model.load_state_dict(state["model"])
        self.average = {name: tensor.to(self.device) for name, tensor in state["average"].items()}
        self.optimizer.load_state_dict(state["optimizer"])
        self.rng.bit_generator.state = state["rng"]
        torch.set_rng_state(state["noise"])
        self.step, self.seconds = state["step"], state["seconds"]

    def repeat(
        self, train_step: Callable[[], tuple[float, ...]], *, save_every: int, log_every: int, report: Callable[[str], None]
    ) -> None:
        """Take steps to the end of the schedule; all that is random in them must come from `rng` or torch."""
        stopping: list[int] = []
        handlers = {number: signal.signal(number, lambda number, _: stopping.append(number)) for number in (signal.SIGTERM, signal.SIGINT)}
        window: list[tuple[float, ...]] = []
        started = time.monotonic() - self.seconds
        try:
            while self.step < self.schedule.steps and not stopping:
                window.append(train_step())
                self.step += 1
                self.seconds = time.monotonic() - started
                if self.step % log_every == 0:
                    self._log(window, report)
                    window.clear()
                if self.step % save_every == 0:
                    self.save()
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
        self.save()

    def descend(self, loss: Tensor) -> None:
        """One step of the optimiser, and of the average."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.schedule.learning_rate_at(self.step) * group["factor"]
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        decay = min(self.schedule.averaging, (1 + self.step) / (10 + self.step))
        torch._foreach_lerp_(list(self.average.values()), list(self.model.state_dict().values()), 1 - decay)

    def _log(self, window: list[tuple[float, ...]], report: Callable[[str], None]) -> None:
        values, words = self.told(np.mean(window, 0).tolist())
        path = self.folder / LOG
        new = not path.exists()
        with path.open("a", newline="") as file:
            writer = csv.writer(file)
            if new:
                writer.writerow(["step", "seconds", "learning_rate", *self.columns])
            writer.writerow([self.step, round(self.seconds, 1), f"{self.schedule.learning_rate_at(self.step - 1):.3g}", *values])
        report(f"step {self.step} of {self.schedule.steps}, {self.seconds:.1f} s: {words}")
