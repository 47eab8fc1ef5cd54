"""Train the post-processor unattended, on what `models.training.artefacts` keeps; run it again with the same folder to go on.

python -m models.training.postprocess --data train/ --cache cache/ --run runs/postprocess --steps 8000

One network for all kinds of sources in the cache. The loss is the squared error relative to that of the picture as it came, so that every
quality counts alike: its mean, in decibels, is the gain that the log tells.
"""

from __future__ import annotations

import argparse
import csv
import math
import signal
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.network.postprocess import PostNetwork, PostTopology
from models.network.precision import placed
from models.sources import Source, read
from models.training import artefacts
from models.training.crops import load

CHECKPOINT = "checkpoint.pt"
LOG = "log.csv"
SHARES = {"avif": 2, "jpeg": 1, "webp": 1, "learned": 1}  # of the crops, where the cache holds several kinds
MSE_FLOOR = 3e-5  # 45 dB: nobody sees what is better, and it should not count more


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that decides a run, stored in its checkpoint.

    Attributes:
        steps: optimiser steps of the whole run.
        batch, crop: crops a step and their side in pixels, a multiple of the network's fold.
        learning_rate: at its height.
        warmup: steps of linear warm-up.
        hold: share of the steps before the cosine decay to zero begins.
        averaging: decay of the exponential moving average of the weights; it starts faster.
        seed: of the crops.
    """

    steps: int = 20_000
    batch: int = 6
    crop: int = 96
    learning_rate: float = 1.5e-3
    warmup: int = 100
    hold: float = 0.3
    averaging: float = 0.999
    seed: int = 1

    def learning_rate_at(self, step: int) -> float:
        """The learning rate of `step` (counted from 0)."""
        warm = min(1.0, (step + 1) / self.warmup)
        done = max(0.0, (step / self.steps - self.hold) / (1 - self.hold))
        return self.learning_rate * warm * 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))


@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    """A picture as a codec gave it back, and as it was; both (H, W, 3)."""

    source: Source
    decoded: NDArray[np.uint8]
    original: NDArray[np.uint8]
    mse: float

    @classmethod
    def of(cls, file: bytes, original: NDArray[np.uint8]) -> Pair:
        """From the file."""
        decoded = artefacts.decode(file)
        difference = np.subtract(decoded, original, dtype=np.int16).astype(np.float32).ravel()
        return cls(read(file), decoded, original, float(difference @ difference) / difference.size / 255**2)


class PairSampler:
    """Endless random batches of crops that lie on the network's grid, as they do when it runs.

    Not mirrored: codecs predict from above and from the left, and so their artefacts have a direction.
    """

    def __init__(self, pairs: list[Pair], recipe: Recipe, network: PostNetwork, rng: np.random.Generator) -> None:
        self.recipe, self.network, self.rng = recipe, network, rng
        self.by_kind = [[pair for pair in pairs if pair.source.kind == kind] for kind in network.topology.kinds]
        shares = np.array([SHARES[kind] for kind in network.topology.kinds], float)
        self.shares = shares / shares.sum()

    def batch(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Decoded and original crops (N, 3, size, size) in [0, 1], conditions (N, C), weights (N,)."""
        chosen = [self._pair() for _ in range(self.recipe.batch)]
        crops = [self._crop(pair) for pair in chosen]
        kinds = self.network.topology.kinds
        conditions = torch.stack([self.network.condition(kinds.index(one.source.kind), one.source.coarseness) for one in chosen])
        weights = torch.tensor([1 / (pair.mse + MSE_FLOOR) for pair in chosen])
        return _tensor([decoded for decoded, _ in crops]), _tensor([original for _, original in crops]), conditions, weights

    def _pair(self) -> Pair:
        pairs = self.by_kind[self.rng.choice(len(self.shares), p=self.shares)]
        return pairs[self.rng.integers(len(pairs))]

    def _crop(self, pair: Pair) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        fold, size = self.network.topology.fold, self.recipe.crop
        top, left = (fold * int(self.rng.integers((side - size) // fold + 1)) for side in pair.original.shape[:2])
        place = slice(top, top + size), slice(left, left + size)
        return pair.decoded[place], pair.original[place]


def _tensor(crops: list[NDArray[np.uint8]]) -> Tensor:
    return (torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2).float() / 255).contiguous(memory_format=torch.channels_last)


class Trainer:
    """One run in one folder. `run()` trains until the recipe's steps are done or a SIGTERM or SIGINT asks it to stop."""

    def __init__(self, folder: Path, recipe: Recipe, topology: PostTopology, *, device: str = "cpu") -> None:
        self.folder, self.recipe, self.device = folder, recipe, torch.device(device)
        torch.manual_seed(recipe.seed)
        self.network = placed(PostNetwork(topology), self.device)
        self.average = {name: tensor.detach().clone() for name, tensor in self.network.state_dict().items()}
        self.optimizer = torch.optim.Adam(self.network.parameters(), recipe.learning_rate)
        self.rng = np.random.default_rng(recipe.seed)
        self.step, self.seconds = 0, 0.0
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def checkpoint(self) -> Path:
        """Where the run is kept."""
        return self.folder / CHECKPOINT

    def save(self) -> None:
        """Write the checkpoint, all or nothing."""
        state = {
            "recipe": asdict(self.recipe),
            "topology": asdict(self.network.topology),
            "network": self.network.state_dict(),
            "average": self.average,
            "optimizer": self.optimizer.state_dict(),
            "rng": self.rng.bit_generator.state,
            "step": self.step,
            "seconds": self.seconds,
        }
        torch.save(state, self.checkpoint.with_suffix(".partial"))
        self.checkpoint.with_suffix(".partial").replace(self.checkpoint)

    def resume(self) -> None:
        """Go on from the checkpoint in the folder."""
        state: dict[str, Any] = torch.load(self.checkpoint, map_location="cpu", weights_only=True)
        self.network.load_state_dict(state["network"])
        self.average = {name: tensor.to(self.device) for name, tensor in state["average"].items()}
        self.optimizer.load_state_dict(state["optimizer"])
        self.rng.bit_generator.state = state["rng"]
        self.step, self.seconds = state["step"], state["seconds"]

    def run(self, pairs: list[Pair], *, save_every: int = 250, log_every: int = 50, report: Callable[[str], None] = print) -> None:
        """Train to the end of the recipe."""
        sampler = PairSampler(pairs, self.recipe, self.network, self.rng)
        stopping: list[int] = []
        handlers = {number: signal.signal(number, lambda number, _: stopping.append(number)) for number in (signal.SIGTERM, signal.SIGINT)}
        window: list[tuple[float, float]] = []
        started = time.monotonic() - self.seconds
        try:
            while self.step < self.recipe.steps and not stopping:
                window.append(self._train_step(*(tensor.to(self.device) for tensor in sampler.batch())))
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

    def _train_step(self, decoded: Tensor, original: Tensor, condition: Tensor, weight: Tensor) -> tuple[float, float]:
        """Relative error after and before."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.recipe.learning_rate_at(self.step)
        loss = _error(self.network(decoded, condition), original, weight)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimizer.step()
        decay = min(self.recipe.averaging, (1 + self.step) / (10 + self.step))
        torch._foreach_lerp_(list(self.average.values()), list(self.network.state_dict().values()), 1 - decay)
        return loss.item(), _error(decoded, original, weight).item()

    def _log(self, window: list[tuple[float, float]], report: Callable[[str], None]) -> None:
        after, before = np.mean(window, 0)
        gain = 10 * math.log10(before / after)
        rate = self.recipe.learning_rate_at(self.step - 1)
        path = self.folder / LOG
        new = not path.exists()
        with path.open("a", newline="") as file:
            writer = csv.writer(file)
            if new:
                writer.writerow(["step", "seconds", "learning_rate", "loss", "gain_db"])
            writer.writerow([self.step, round(self.seconds, 1), f"{rate:.3g}", f"{after:.5f}", f"{gain:.4f}"])
        report(f"step {self.step} of {self.recipe.steps}, {self.seconds:.0f} s: loss {after:.4f}, gain {gain:.3f} dB")


def _error(x: Tensor, original: Tensor, weight: Tensor) -> Tensor:
    return ((x - original).square().mean((1, 2, 3)) * weight).mean()


def load_pairs(data: Path, cache: Path, smallest: int) -> list[Pair]:
    """All pairs in the cache whose shorter side is at least `smallest` pixels."""
    files = list(artefacts.stored(cache))
    pictures = load(data, 0, limit=1 + max(number for number, _, _ in files))
    return [Pair.of(file, pictures[number]) for number, _, file in files if min(pictures[number].shape[:2]) >= smallest]


def kinds_in(cache: Path) -> tuple[str, ...]:
    """Kinds of sources in the cache."""
    return tuple(sorted({kind for _, kind, _ in artefacts.stored(cache)}))


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        prog="python -m models.training.postprocess", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of .tar shards of training images")
    parser.add_argument("--cache", type=Path, required=True, help="folder of `python -m models.training.artefacts`")
    parser.add_argument("--run", type=Path, required=True, help="folder of the run: checkpoint.pt and log.csv")
    parser.add_argument("--device", default="cpu")
    for field in fields(Recipe):
        parser.add_argument(f"--{field.name.replace('_', '-')}", type=type(field.default), default=field.default)
    arguments = parser.parse_args()
    recipe = Recipe(**{field.name: getattr(arguments, field.name) for field in fields(Recipe)})
    trainer = Trainer(arguments.run, recipe, PostTopology(kinds_in(arguments.cache)), device=arguments.device)
    if trainer.checkpoint.exists():
        trainer.resume()
    pairs = load_pairs(arguments.data, arguments.cache, recipe.crop)
    print(f"{len(pairs)} pairs; step {trainer.step} of {recipe.steps}", flush=True)
    trainer.run(pairs, report=lambda line: print(line, flush=True))


if __name__ == "__main__":
    main()
