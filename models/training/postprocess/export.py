"""Export a run of the post-processor: averaged weights in half precision, and a card of its gains.

python -m models.training.postprocess.export --run runs/postprocess --data train/ --cache cache/ \\
    --images kodak/ --files files/
"""

from __future__ import annotations

import argparse
import math
from dataclasses import replace
from pathlib import Path

from models.evaluation import enhancement
from models.evaluation.run import image_paths, read_picture
from models.network.postprocess import PostNetwork, PostTopology
from models.postprocess import model as post_model
from models.postprocess.model import PostCard, PostModel, Trained
from models.postprocess.postprocessor import PostProcessor
from models.postprocess.sources import read
from models.training.arguments import add_export, parser, say
from models.training.crops import content_hash
from models.training.export import commit
from models.training.postprocess import pairs as artefacts
from models.training.postprocess.train import Recipe
from models.training.run import WEIGHTS, RunWeights


def main() -> None:
    """Export."""
    arguments = _arguments()
    trained = RunWeights.load(arguments.run / WEIGHTS)
    network = network_of(trained)
    model = PostModel.of(network)
    card = PostCard(
        name=arguments.name,
        model_id=model.model_id,
        trained=trained_on(arguments.cache, network.topology.kinds),
        steps=arguments.earlier_steps + trained.step,
        data_sha256=content_hash(arguments.data),
        commit=commit(),
        parameters=sum(parameter.numel() for parameter in network.parameters()),
        history=(*arguments.history, trained.history_line(Recipe(**trained.recipe))),
        evaluated_on="",
        gains=(),
    )
    put(model, card, arguments.images, arguments.files)


def put(model: PostModel, card: PostCard, images: Path, files: Path) -> None:
    """Write weights and card to their places, with what the model gains on test images.

    Args:
        model: the post-processor.
        card: without gains, or with old ones.
        images: folder of the test images.
        files: folder for the test images' encoded files, which are made once.
    """
    pictures = [read_picture(path) for path in image_paths(images)]
    gains = enhancement.gains(PostProcessor(model, card), pictures, files, report=say)
    path = post_model.WEIGHTS / f"{card.name}.safetensors"
    path.parent.mkdir(exist_ok=True)
    model.save(path)
    replace(card, evaluated_on=images.name, gains=gains).save(path.with_suffix(".json"))


def network_of(trained: RunWeights) -> PostNetwork:
    """Make the network that a run has come to."""
    topology = {**trained.topology, "kinds": tuple(trained.topology["kinds"])}
    network = PostNetwork(PostTopology(**topology))
    network.load_state_dict(trained.weights)
    return network.eval()


def trained_on(cache: Path, kinds: tuple[str, ...]) -> tuple[Trained, ...]:
    """Find the range of coarseness of each kind in the cache, to whole hundredths outwards."""
    found: dict[str, list[float]] = {kind: [] for kind in kinds}
    for _, kind, file in artefacts.stored(cache):
        found[kind].append(read(file).coarseness)
    return tuple(
        Trained(kind, math.floor(100 * min(seen)) / 100, math.ceil(100 * max(seen)) / 100)
        for kind, seen in found.items()
    )


def _arguments() -> argparse.Namespace:
    options = parser("models.training.postprocess.export", __doc__)
    add_export(options)
    options.add_argument("--name", default="files", help="of the weights")
    options.add_argument(
        "--cache", type=Path, required=True, help="folder of the pairs that the run was trained on"
    )
    options.add_argument(
        "--files",
        type=Path,
        required=True,
        help="folder for the test images' encoded files, which are made once",
    )
    return options.parse_args()


if __name__ == "__main__":
    main()
