"""Train a model unattended; run it again with the same folder to go on where it stopped.

python -m models.training --data train/ --run runs/psnr --distortion mse --steps 12000 --init small.safetensors
"""

from __future__ import annotations

import argparse
from dataclasses import fields, replace
from pathlib import Path

from safetensors.torch import load_file

from models.learned.model import CodecModel
from models.learned.objective import OBJECTIVES
from models.network.autoencoder import AutoEncoder, Topology
from models.training.crops import CropSampler, load
from models.training.grow import grow
from models.training.loop import Recipe, Trainer, averaged_model
from models.training.mean_context import solve_context


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m models.training", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of .tar shards of training images")
    parser.add_argument("--run", type=Path, required=True, help="folder of the run: checkpoint.pt and log.csv")
    parser.add_argument("--init", type=Path, help="start from a checkpoint.pt (averaged weights), an exported model, or a smaller network")
    parser.add_argument("--anchors-below", type=int, default=3, help="new gain anchors below those of a smaller network")
    parser.add_argument("--depths", type=int, nargs=3, help="residual blocks at 1/4, 1/8 and 1/16; as in --init unless told")
    parser.add_argument("--solve-context", action="store_true", help="start the mean's context by least squares")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--distortion", choices=list(OBJECTIVES), default="mse")
    parser.add_argument("--trained", choices=["all", "prior"], default="all")
    for field in fields(Recipe):
        if field.name not in ("distortion", "trained"):
            parser.add_argument(f"--{field.name.replace('_', '-')}", type=type(field.default), default=field.default)
    return parser.parse_args()


def _initial(init: Path | None, anchors_below: int, depths: list[int] | None) -> AutoEncoder:
    if init is None:
        return AutoEncoder(_deepened(Topology(), depths))
    if init.suffix == ".pt":
        old = averaged_model(init)
    elif "tables.z" in (tensors := load_file(init)):
        old = CodecModel.load(init).network
    else:
        return grow(tensors, _deepened(Topology(), depths), anchors_below=anchors_below)
    return grow(old.state_dict(), _deepened(old.topology, depths))


def _deepened(topology: Topology, depths: list[int] | None) -> Topology:
    return replace(topology, depths=(depths[0], depths[1], depths[2])) if depths else topology


def main() -> None:
    """The command."""
    arguments = _arguments()
    recipe = Recipe(**{field.name: getattr(arguments, field.name) for field in fields(Recipe)})
    trainer = Trainer(arguments.run, recipe, _initial(arguments.init, arguments.anchors_below, arguments.depths), device=arguments.device)
    sampler = CropSampler(load(arguments.data, recipe.crop), recipe.crop, trainer.rng)
    if trainer.checkpoint.exists():
        trainer.resume()
    elif arguments.solve_context:
        solve_context(trainer.model, sampler)
        trainer.restart_average()
    print(f"{len(sampler.pictures)} pictures; step {trainer.step} of {recipe.steps}", flush=True)
    trainer.run(sampler, report=lambda line: print(line, flush=True))


if __name__ == "__main__":
    main()
