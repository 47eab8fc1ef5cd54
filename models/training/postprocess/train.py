"""Train the post-processor unattended; run it again with the same folder to go on.

python -m models.training.postprocess.train --data train/ --cache cache/ --run runs/postprocess \\
    --steps 8000

One network is trained for all kinds of sources in the cache, which
`python -m models.training.postprocess.pairs` fills. The loss is the distortion relative to that of
the picture as it came, so that every quality counts alike: its mean, in decibels, is the gain that
the log tells.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.learned.objective import Distortion, measure
from models.network.postprocess import PostNetwork, PostTopology
from models.network.precision import transform_autocast
from models.postprocess.model import PostModel
from models.postprocess.sources import Source, read
from models.tensors import to_batch
from models.training.arguments import add_run, parser, recipe_from, say
from models.training.crops import load
from models.training.postprocess import pairs as artefacts
from models.training.run import WEIGHTS, Run, RunWeights, Schedule

# Relative numbers of crops, where the cache holds several kinds; those of other kinds are 1.
CROPS_OF_KIND = {"avif": 2.0}
# Added to the distortion that a crop's loss is relative to: 45 dB, and MS-SSIM 0.9975. Nobody sees
# what is better, and it should not count more.
INVISIBLE_DISTORTION: dict[Distortion, float] = {"mse": 3e-5, "ms-ssim": 2e-3, "visual": 3e-3}


@dataclass(frozen=True, slots=True)
class Recipe(Schedule):
    """Everything that decides a run, stored beside its weights.

    Attributes:
        crop: side in pixels, a multiple of the network's fold.
        distortion: see `Objective`.
    """

    steps: int = 20_000
    batch: int = 6
    crop: int = 96
    learning_rate: float = 1.5e-3
    warmup: int = 100
    minutes: float = math.inf
    seed: int = 1
    distortion: Distortion = "mse"


@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    """A picture as a codec gave it back, and as it was.

    Attributes:
        source: what the file says of itself.
        decoded: (H, W, 3).
        original: (H, W, 3).
        distortion: of the whole picture, as in the loss.
    """

    source: Source
    decoded: NDArray[np.uint8]
    original: NDArray[np.uint8]
    distortion: float

    @classmethod
    @torch.no_grad()
    def from_file(cls, file: bytes, original: NDArray[np.uint8], distortion: Distortion = "mse") -> Pair:
        """Decode a file, and measure it against its original (H, W, 3)."""
        decoded = artefacts.decode(file)
        measured = measure(distortion, _batch([decoded]), _batch([original]))
        return cls(read(file), decoded, original, float(measured))


@dataclass(frozen=True, slots=True, eq=False)
class PairBatch:
    """Crops for one step.

    Attributes:
        decoded: (N, 3, size, size) in [0, 1].
        original: (N, 3, size, size) in [0, 1].
        condition: (N, C), what the network is told of the source.
        weight: of each crop's distortion (N,).
    """

    decoded: Tensor
    original: Tensor
    condition: Tensor
    weight: Tensor

    def to(self, device: torch.device) -> PairBatch:
        """Move the batch to a device."""
        return PairBatch(
            self.decoded.to(device),
            self.original.to(device),
            self.condition.to(device),
            self.weight.to(device),
        )


class PairSampler:
    """Endless random batches of crops that lie on the network's grid, as they do when it runs.

    Not mirrored: codecs predict from above and from the left, so that artefacts have a direction.

    Args:
        pairs: of all kinds of the network's topology.
        recipe: for the size of crops and batches.
        network: for the grid and the conditions.
        rng: the only source of randomness.
    """

    def __init__(
        self, pairs: Sequence[Pair], recipe: Recipe, network: PostNetwork, rng: np.random.Generator
    ) -> None:
        self._recipe = recipe
        self._network = network
        self._rng = rng
        kinds = network.topology.kinds
        self._by_kind = [[pair for pair in pairs if pair.source.kind == kind] for kind in kinds]
        numbers = np.array([CROPS_OF_KIND.get(kind, 1.0) for kind in kinds])
        self._probabilities = numbers / numbers.sum()

    def batch(self) -> PairBatch:
        """Draw a batch."""
        pairs = [self._pair() for _ in range(self._recipe.batch)]
        crops = [self._crop(pair) for pair in pairs]
        floor = INVISIBLE_DISTORTION[self._recipe.distortion]
        return PairBatch(
            decoded=_batch([decoded for decoded, _ in crops]),
            original=_batch([original for _, original in crops]),
            condition=torch.stack([self._condition(pair.source) for pair in pairs]),
            weight=torch.tensor([1 / (pair.distortion + floor) for pair in pairs]),
        )

    def _condition(self, source: Source) -> Tensor:
        number = self._network.topology.kinds.index(source.kind)
        return self._network.condition(number, source.coarseness)

    def _pair(self) -> Pair:
        pairs = self._by_kind[self._rng.choice(len(self._probabilities), p=self._probabilities)]
        return pairs[self._rng.integers(len(pairs))]

    def _crop(self, pair: Pair) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Cut the same crop (size, size, 3) of the decoded picture and of the original."""
        fold = self._network.topology.fold
        size = self._recipe.crop
        top, left = (
            fold * int(self._rng.integers((side - size) // fold + 1)) for side in pair.original.shape[:2]
        )
        place = np.s_[top : top + size, left : left + size]
        return pair.decoded[place], pair.original[place]


class Trainer(Run[PostNetwork]):
    """A run of the post-processor.

    Args:
        folder: for the checkpoint and the log.
        recipe: decides everything.
        topology: of the network.
        device: runs the training.
    """

    columns = ("loss", "gain_db")

    def __init__(self, folder: Path, recipe: Recipe, topology: PostTopology, *, device: str = "cpu") -> None:
        torch.manual_seed(recipe.seed)
        rng = np.random.default_rng(recipe.seed)
        super().__init__(folder, recipe, PostNetwork(topology), topology, rng, device=device)
        self.recipe = recipe

    def start_from(self, earlier: Path) -> None:
        """Take the weights of another run, or of an exported post-processor.

        Those for kinds of sources stay as they are where the kinds differ.
        """
        is_run = earlier.name == WEIGHTS
        weights = RunWeights.load(earlier).weights if is_run else PostModel.load(earlier).network.state_dict()
        own = self.model.state_dict()
        fitting = {name: tensor for name, tensor in weights.items() if tensor.shape == own[name].shape}
        self.model.load_state_dict(own | fitting)

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Train everything at one rate."""
        return [{"params": list(self.model.parameters())}]

    def run(
        self,
        pairs: Sequence[Pair],
        *,
        save_every: float = 60,
        log_every: int = 50,
        report: Callable[[str], None] = print,
    ) -> None:
        """Train to the end of the recipe; see `Run.repeat`."""
        sampler = PairSampler(pairs, self.recipe, self.model, self.rng)
        self.repeat(
            lambda: self._train_step(sampler.batch().to(self.device)),
            save_every=save_every,
            log_every=log_every,
            report=report,
        )

    def log_entry(self, means: Iterable[float]) -> tuple[list[str], str]:
        """Tell the loss, and what the network gains in dB."""
        after, before = means
        gain = 10 * math.log10(before / after)
        return [f"{after:.5f}", f"{gain:.4f}"], f"loss {after:.4f}, gain {gain:.3f} dB"

    def _train_step(self, batch: PairBatch) -> Tensor:
        """Take a step; returns the relative distortion after post-processing, and before."""
        distortion = self.recipe.distortion
        with transform_autocast(self.device):
            improved = self.model(batch.decoded, batch.condition).float()
        loss = (measure(distortion, improved, batch.original) * batch.weight).mean()
        self.descend(loss)
        before = (measure(distortion, batch.decoded, batch.original) * batch.weight).mean()
        return torch.stack([loss.detach(), before])


def load_pairs(data: Path, cache: Path, recipe: Recipe) -> list[Pair]:
    """Load all pairs in the cache that are large enough for a crop."""
    files = list(artefacts.stored(cache))
    pictures = load(data, 0, limit=1 + max(number for number, _, _ in files))
    return [
        Pair.from_file(file, pictures[number], recipe.distortion)
        for number, _, file in files
        if min(pictures[number].shape[:2]) >= recipe.crop
    ]


def kinds_in(cache: Path) -> tuple[str, ...]:
    """List the kinds of sources in the cache, sorted."""
    return tuple(sorted({kind for _, kind, _ in artefacts.stored(cache)}))


def main() -> None:
    """Train."""
    arguments = _arguments()
    recipe = recipe_from(arguments, Recipe)
    topology = PostTopology(kinds_in(arguments.cache))
    trainer = Trainer(arguments.run, recipe, topology, device=arguments.device)
    if trainer.checkpoint.exists():
        trainer.resume()
    elif arguments.start:
        trainer.start_from(arguments.start)
    pairs = load_pairs(arguments.data, arguments.cache, recipe)
    say(f"{len(pairs)} pairs; step {trainer.step} of {recipe.steps}")
    trainer.run(pairs, report=say)


def _arguments() -> argparse.Namespace:
    options = parser("models.training.postprocess.train", __doc__)
    add_run(options, Recipe)
    options.add_argument(
        "--cache",
        type=Path,
        required=True,
        help="folder of `python -m models.training.postprocess.pairs`",
    )
    options.add_argument(
        "--start",
        type=Path,
        help="start from the weights.safetensors of a run, or from an exported post-processor",
    )
    return options.parse_args()


def _batch(crops: Sequence[NDArray[np.uint8]]) -> Tensor:
    return to_batch(crops, torch.device("cpu"))


if __name__ == "__main__":
    main()
