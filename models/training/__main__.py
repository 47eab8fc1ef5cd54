"""Train a model unattended; run it again with the same folder to go on where it stopped.

python -m models.training --data train/ --run runs/psnr --distortion mse --steps 12000 \\
    --init small.safetensors
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from safetensors.torch import load_file

from models.learned.model import CodecModel
from models.network.autoencoder import AutoEncoder, Topology
from models.training.arguments import add_run, parser, recipe_from, say
from models.training.crops import CropSampler, load
from models.training.grow import grow
from models.training.loop import Recipe, Trainer, averaged_model
from models.training.mean_context import solve_context


def main() -> None:
    """Train."""
    arguments = _arguments()
    recipe = recipe_from(arguments, Recipe)
    network = _initial(arguments.init, arguments.anchors_below, arguments.depths)
    trainer = Trainer(arguments.run, recipe, network, device=arguments.device)
    sampler = CropSampler(load(arguments.data, recipe.crop), recipe.crop, trainer.rng)
    if trainer.checkpoint.exists():
        trainer.resume()
    elif arguments.solve_context:
        solve_context(trainer.model, sampler)
        trainer.restart_average()
    say(f"{len(sampler.pictures)} pictures; step {trainer.step} of {recipe.steps}")
    trainer.run(sampler, report=say)


def _arguments() -> argparse.Namespace:
    options = parser("models.training", __doc__)
    add_run(options, Recipe)
    options.add_argument(
        "--init",
        type=Path,
        help="start from a checkpoint.pt (averaged weights), an exported model, or a smaller network",
    )
    options.add_argument(
        "--anchors-below", type=int, default=3, help="new gain anchors below those of a smaller network"
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


def _initial(init: Path | None, anchors_below: int, depths: Sequence[int] | None) -> AutoEncoder:
    """Make the network that training starts from."""
    if init is None:
        return AutoEncoder(_with_depths(Topology(), depths))
    if init.suffix == ".pt":
        old = averaged_model(init)
    elif "tables.z" in (tensors := load_file(init)):
        old = CodecModel.load(init).network
    else:
        return grow(tensors, _with_depths(Topology(), depths), anchors_below=anchors_below)
    return grow(old.state_dict(), _with_depths(old.topology, depths))


def _with_depths(topology: Topology, depths: Sequence[int] | None) -> Topology:
    return replace(topology, depths=(depths[0], depths[1], depths[2])) if depths else topology


if __name__ == "__main__":
    main()
