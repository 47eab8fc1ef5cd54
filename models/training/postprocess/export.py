"""Export a run of `models.training.postprocess.train`: the averaged weights in half precision, and the card with what they gain.

python -m models.training.postprocess.export --run runs/postprocess --data train/ --cache cache/ --images kodak/
"""

from __future__ import annotations

import argparse
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from models.evaluation import enhancement
from models.evaluation.run import image_paths, read_picture
from models.network.postprocess import PostNetwork, PostTopology
from models.postprocess import model as post_model
from models.postprocess.model import PostCard, PostModel, Trained
from models.postprocess.postprocessor import PostProcessor
from models.postprocess.sources import read
from models.training.crops import content_hash
from models.training.export import commit
from models.training.postprocess import pairs as artefacts
from models.training.run import CHECKPOINT


def averaged(checkpoint: Path) -> PostNetwork:
    """The network of a checkpoint with its averaged weights."""
    state: dict[str, Any] = torch.load(checkpoint, map_location="cpu", weights_only=True)
    network = PostNetwork(PostTopology(**{**state["topology"], "kinds": tuple(state["topology"]["kinds"])}))
    network.load_state_dict(state["average"])
    return network.eval()


def trained_on(cache: Path, kinds: tuple[str, ...]) -> tuple[Trained, ...]:
    """The range of coarseness of each kind in the cache, to whole hundredths outwards."""
    found: dict[str, list[float]] = {kind: [] for kind in kinds}
    for _, kind, file in artefacts.stored(cache):
        found[kind].append(read(file).coarseness)
    return tuple(Trained(kind, math.floor(100 * min(seen)) / 100, math.ceil(100 * max(seen)) / 100) for kind, seen in found.items())


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m models.training.postprocess.export", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--run", type=Path, required=True, help="folder of the training run")
    parser.add_argument("--name", default="files", help="of the weights")
    parser.add_argument("--data", type=Path, required=True, help="folder of .tar shards of training images")
    parser.add_argument("--cache", type=Path, required=True, help="folder of the pairs that the run was trained on")
    parser.add_argument("--images", type=Path, required=True, help="folder of test images for the card")
    parser.add_argument("--files", type=Path, required=True, help="folder for the test images' encoded files, which are made once")
    parser.add_argument("--earlier-steps", type=int, default=0, help="steps of the weights that the run started from")
    parser.add_argument("--history", action="append", default=[], help="a line about the weights that the run started from")
    return parser.parse_args()


def main() -> None:
    """The command."""
    arguments = _arguments()
    state: dict[str, Any] = torch.load(arguments.run / CHECKPOINT, map_location="cpu", weights_only=True)
    recipe, network = state["recipe"], averaged(arguments.run / CHECKPOINT)
    model = PostModel.of(network)
    shape = f"{recipe['batch']} crops of {recipe['crop']}x{recipe['crop']}"
    run = f"{state['step']} steps of {shape}, {state['seconds'] / 60:.0f} minutes, weights averaged at {recipe['averaging']}"
    card = PostCard(
        name=arguments.name,
        model_id=model.model_id,
        trained=trained_on(arguments.cache, network.topology.kinds),
        steps=arguments.earlier_steps + state["step"],
        data_sha256=content_hash(arguments.data),
        commit=commit(),
        parameters=sum(parameter.numel() for parameter in network.parameters()),
        history=(*arguments.history, run),
        evaluated_on="",
        gains=(),
    )
    pictures = [read_picture(path) for path in image_paths(arguments.images)]
    gains = enhancement.gains(PostProcessor(model, card), pictures, arguments.files, report=_say)
    path = post_model.WEIGHTS / f"{arguments.name}.safetensors"
    path.parent.mkdir(exist_ok=True)
    model.save(path)
    replace(card, evaluated_on=arguments.images.name, gains=gains).save(path.with_suffix(".json"))


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    main()
