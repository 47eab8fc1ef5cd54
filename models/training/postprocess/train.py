"""Train the post-processor unattended, on what `models.training.postprocess.pairs` keeps; run it again with the same folder to go on.

python -m models.training.postprocess.train --data train/ --cache cache/ --run runs/postprocess --steps 8000

One network for all kinds of sources in the cache. The loss is the distortion relative to that of the picture as it came, so that every
quality counts alike: its mean, in decibels, is the gain that the log tells.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.learned.objective import OBJECTIVES, Distortion
from models.network.postprocess import PostNetwork, PostTopology
from models.network.precision import transform_autocast
from models.postprocess.model import PostModel
from models.postprocess.sources import Source, read
from models.training.crops import load
from models.training.postprocess import pairs as artefacts
from models.training.run import Run, Schedule

SHARES = {"avif": 2.0}  # of the crops, where the cache holds several kinds; others have 1
FLOOR: dict[Distortion, float] = {"mse": 3e-5, "ms-ssim": 2e-3}  # 45 dB, 0.9975: nobody sees what is better, and it should not count more


@dataclass(frozen=True, slots=True)
class Recipe(Schedule):
    """Everything that decides a run, stored in its checkpoint; the crop is a multiple of the network's fold."""

    steps: int = 20_000
    batch: int = 6
    crop: int = 96
    learning_rate: float = 1.5e-3
    warmup: int = 100
    hold: float = 0.3
    averaging: float = 0.999
    seed: int = 1
    distortion: Distortion = "mse"


@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    """A picture as a codec gave it back, and as it was; both (H, W, 3)."""

    source: Source
    decoded: NDArray[np.uint8]
    original: NDArray[np.uint8]
    distortion: float

    @classmethod
    @torch.no_grad()
    def of(cls, file: bytes, original: NDArray[np.uint8], distortion: Distortion = "mse") -> Pair:
        """From the file."""
        decoded = artefacts.decode(file)
        return cls(read(file), decoded, original, float(OBJECTIVES[distortion].measure(_tensor([decoded]), _tensor([original]))))


class PairSampler:
    """Endless random batches of crops that lie on the network's grid, as they do when it runs.

    Not mirrored: codecs predict from above and from the left, and so their artefacts have a direction.
    """

    def __init__(self, pairs: list[Pair], recipe: Recipe, network: PostNetwork, rng: np.random.Generator) -> None:
        self.recipe, self.network, self.rng = recipe, network, rng
        self.by_kind = [[pair for pair in pairs if pair.source.kind == kind] for kind in network.topology.kinds]
        shares = np.array([SHARES.get(kind, 1.0) for kind in network.topology.kinds])
        self.shares = shares / shares.sum()

    def batch(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Decoded and original crops (N, 3, size, size) in [0, 1], conditions (N, C), weights (N,)."""
        chosen = [self._pair() for _ in range(self.recipe.batch)]
        crops = [self._crop(pair) for pair in chosen]
        kinds = self.network.topology.kinds
        conditions = torch.stack([self.network.condition(kinds.index(one.source.kind), one.source.coarseness) for one in chosen])
        weights = torch.tensor([1 / (pair.distortion + FLOOR[self.recipe.distortion]) for pair in chosen])
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


class Trainer(Run[PostNetwork]):
    """A run of the post-processor."""

    columns = ("loss", "gain_db")

    def __init__(self, folder: Path, recipe: Recipe, topology: PostTopology, *, device: str = "cpu") -> None:
        torch.manual_seed(recipe.seed)
        super().__init__(folder, recipe, PostNetwork(topology), topology, device=device)
        self.recipe = recipe

    def start_from(self, earlier: Path) -> None:
        """Take the averaged weights of another run's checkpoint, or exported ones: all but those for kinds of sources, if these differ."""
        if earlier.suffix == ".safetensors":
            average = PostModel.load(earlier).network.to(self.device).state_dict()
        else:
            average = torch.load(earlier, map_location=self.device, weights_only=True)["average"]
        own = self.model.state_dict()
        self.model.load_state_dict(own | {name: tensor for name, tensor in average.items() if tensor.shape == own[name].shape})
        self.restart_average()

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Everything."""
        return [{"params": list(self.model.parameters()), "factor": 1.0}]

    def run(self, pairs: list[Pair], *, save_every: int = 250, log_every: int = 50, report: Callable[[str], None] = print) -> None:
        """Train to the end of the recipe."""
        sampler = PairSampler(pairs, self.recipe, self.model, self.rng)
        self.repeat(lambda: self._train_step(sampler), save_every=save_every, log_every=log_every, report=report)

    def told(self, means: Iterable[float]) -> tuple[list[str], str]:
        """Loss, and what the network gains."""
        after, before = means
        gain = 10 * math.log10(before / after)
        return [f"{after:.5f}", f"{gain:.4f}"], f"loss {after:.4f}, gain {gain:.3f} dB"

    def _train_step(self, sampler: PairSampler) -> tuple[float, float]:
        """Relative error after and before."""
        decoded, original, condition, weight = (tensor.to(self.device) for tensor in sampler.batch())
        measure = OBJECTIVES[self.recipe.distortion].measure
        with transform_autocast(self.device):
            improved = self.model(decoded, condition).float()
        loss = (measure(improved, original) * weight).mean()
        self.descend(loss)
        return loss.item(), (measure(decoded, original) * weight).mean().item()


def load_pairs(data: Path, cache: Path, recipe: Recipe) -> list[Pair]:
    """All pairs in the cache that are large enough for a crop."""
    files = list(artefacts.stored(cache))
    pictures = load(data, 0, limit=1 + max(number for number, _, _ in files))
    enough = [(file, pictures[number]) for number, _, file in files if min(pictures[number].shape[:2]) >= recipe.crop]
    return [Pair.of(file, picture, recipe.distortion) for file, picture in enough]


def kinds_in(cache: Path) -> tuple[str, ...]:
    """Kinds of sources in the cache."""
    return tuple(sorted({kind for _, kind, _ in artefacts.stored(cache)}))


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        prog="python -m models.training.postprocess.train", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of .tar shards of training images")
    parser.add_argument("--cache", type=Path, required=True, help="folder of `python -m models.training.postprocess.pairs`")
    parser.add_argument("--run", type=Path, required=True, help="folder of the run: checkpoint.pt and log.csv")
    parser.add_argument("--start", type=Path, help="start from the checkpoint.pt of another run, or from an exported post-processor")
    parser.add_argument("--device", default="cpu")
    for field in fields(Recipe):
        parser.add_argument(f"--{field.name.replace('_', '-')}", type=type(field.default), default=field.default)
    arguments = parser.parse_args()
    recipe = Recipe(**{field.name: getattr(arguments, field.name) for field in fields(Recipe)})
    trainer = Trainer(arguments.run, recipe, PostTopology(kinds_in(arguments.cache)), device=arguments.device)
    if trainer.checkpoint.exists():
        trainer.resume()
    elif arguments.start:
        trainer.start_from(arguments.start)
    pairs = load_pairs(arguments.data, arguments.cache, recipe)
    print(f"{len(pairs)} pairs; step {trainer.step} of {recipe.steps}", flush=True)
    trainer.run(pairs, report=lambda line: print(line, flush=True))


if __name__ == "__main__":
    main()
