"""Train a model unattended; run it again with the same folder to go on where it stopped.

python -m models.training --data train/ --run runs/psnr --distortion mse --steps 12000 \\
    --init small.safetensors
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from models.learned.model import CodecModel
from models.network.autoencoder import AutoEncoder, Topology
from models.training.arguments import add_run, parser, recipe_from, say
from models.training.crops import CropSampler, load
from models.training.grow import grow
from models.training.loop import Recipe, Trainer, trained_network
from models.training.mean_context import solve_context
from models.training.run import CHECKPOINT, WEIGHTS


def main() -> None:
    """Train."""
    arguments = _arguments()
    recipe = recipe_from(arguments, Recipe)
    network = _initial(arguments.init, arguments)
    rng = np.random.default_rng(recipe.seed)
    sampler = CropSampler(load(arguments.data, recipe.crop), recipe.crop, rng, device=arguments.device)
    resumes = (arguments.run / CHECKPOINT).exists()
    if arguments.solve_context and not resumes:
        solve_context(network, sampler)
    trainer = Trainer(arguments.run, recipe, network, rng, device=arguments.device)
    if resumes:
        trainer.resume()
    say(f"{len(sampler)} pictures; step {trainer.step} of {recipe.steps}")
    trainer.run(sampler, report=say)


def _arguments() -> argparse.Namespace:
    options = parser("models.training", __doc__)
    add_run(options, Recipe)
    options.add_argument(
        "--init", type=Path, help="start from the weights.safetensors of a run, or from an exported model"
    )
    options.add_argument(
        "--anchors-below", type=int, default=0, help="new gain anchors below those of --init"
    )
    options.add_argument(
        "--anchors-above", type=int, default=0, help="new gain anchors above those of --init"
    )
    options.add_argument(
        "--depths",
        type=int,
        nargs=3,
        help="residual blocks at 1/4, 1/8 and 1/16; as in --init unless given",
    )
    options.add_argument(
        "--solve-context", action="store_true", help="start the mean's context by least squares"
    )
    return options.parse_args()


def _initial(init: Path | None, arguments: argparse.Namespace) -> AutoEncoder:
    """Make the network that training starts from."""
    if init is None:
        return AutoEncoder(_with_depths(Topology(), arguments.depths))
    old = _network(init)
    anchors = arguments.anchors_below + old.topology.anchors + arguments.anchors_above
    topology = _with_depths(replace(old.topology, anchors=anchors), arguments.depths)
    return grow(old.state_dict(), topology, anchors_below=arguments.anchors_below)


def _network(path: Path) -> AutoEncoder:
    """Read the network of a run or of an exported model."""
    return trained_network(path) if path.name == WEIGHTS else CodecModel.load(path).network


def _with_depths(topology: Topology, depths: Sequence[int] | None) -> Topology:
    return replace(topology, depths=(depths[0], depths[1], depths[2])) if depths else topology


if __name__ == "__main__":
    main()
