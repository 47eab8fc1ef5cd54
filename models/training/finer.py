"""Let an exported model reach finer: gain anchors above its last, and everything else as it was.

Only the gains of the new anchors are trained. At the old ones the codec computes what it did, so
that it needs neither new integers nor new tables. Its post-processor is told the same places of the
axis by their new names, and does to them what it did.

python -m models.training.finer --model psnr --anchors 3 --run runs/finer --data train/ \\
    --images kodak/
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch.optim.lr_scheduler import LambdaLR

from models.learned.model import CodecModel, export
from models.learned.objective import Distortion, Objective
from models.network.postprocess import PostNetwork
from models.network.precision import transform_autocast
from models.postprocess import model as post_model
from models.postprocess.model import PostModel, Trained
from models.training.arguments import parser, say
from models.training.crops import CropSampler, load
from models.training.export import commit, evaluated
from models.training.grow import grow
from models.training.postprocess.export import put
from models.training.scale_decoder import TYPICAL_CROPS, bits_per_significant
from models.weights import registry

CROP = 192  # pixels
REPORT_EVERY = 50  # steps


def finer(
    model: CodecModel,
    distortion: Distortion,
    sampler: CropSampler,
    *,
    anchors: int,
    steps: int = 500,
    batch: int = 4,
    learning_rate: float = 2e-3,
    report: Callable[[str], None] = print,
) -> CodecModel:
    """Continue the gain axis of a model by so many anchors, a factor of lambda apart as before.

    Args:
        model: is not changed.
        distortion: that it was trained for.
        sampler: draws the crops.
        anchors: to add, at least 1.
        steps: of training.
        batch: crops of a step.
        learning_rate: at the start; it falls to 0.
        report: told how training goes.
    """
    old = model.network.topology.anchors
    topology = replace(model.network.topology, anchors=old + anchors)
    network = grow(model.network.state_dict(), topology).eval().requires_grad_(False)
    gains = (network.gain.requires_grad_(), network.inverse_gain.requires_grad_())
    objective = Objective.trained(distortion, topology.anchors)
    optimizer = torch.optim.Adam(gains, learning_rate)
    scheduler = LambdaLR(optimizer, lambda step: 1 - step / max(1, steps))
    first = (old - 1) / (topology.anchors - 1)  # share of the axis that the model has already
    losses: list[float] = []
    for step in range(1, steps + 1):
        # One from each of `batch` equal parts of the new end, as in `sample_shares`.
        share = first + (1 - first) * (torch.arange(batch) + torch.rand(batch)) / batch
        x = sampler.batch(batch)
        with transform_autocast(x.device):
            x_hat, bits = network(x, share * (topology.anchors - 1))
        loss = objective(x_hat, x, bits, share)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        for gain in gains:
            assert gain.grad is not None  # every crop's loss depends on both
            gain.grad[:old] = 0
        optimizer.step()
        scheduler.step()
        losses.append(float(loss.detach()))
        if step % REPORT_EVERY == 0:
            report(f"step {step} of {steps}: loss {np.mean(losses[-REPORT_EVERY:]):.4f}")
    bits_of_new = bits_per_significant(network, sampler.batch(TYPICAL_CROPS))[old:]
    return export(
        network.requires_grad_(False),
        model.scale_decoder,
        model.tables,
        model.context_model,
        torch.cat([model.bits_per_significant, bits_of_new]),
    )


def stretched(network: PostNetwork, model_id: str, stretch: float) -> PostNetwork:
    """Make the post-processor of a model into that of its finer one.

    Args:
        network: for one model alone.
        model_id: of the finer model.
        stretch: length of its gain axis, old axes.

    Returns:
        A network that does at a share s of the new axis what the old one did at s * stretch.
    """
    result = PostNetwork(replace(network.topology, kinds=(model_id,)))
    result.load_state_dict(network.state_dict())
    first = result.modulation[0]
    assert isinstance(first, torch.nn.Linear)
    with torch.no_grad():
        # It is given 1 - 2 s, and is to find there 1 - 2 s stretch.
        first.bias.add_((1 - stretch) * first.weight[:, 1])
        first.weight[:, 1].mul_(stretch)
    return result.eval()


def main() -> None:
    """Train the gains, and put the model and its post-processor in the place of the old ones."""
    arguments = _arguments()
    torch.manual_seed(1)
    old = CodecModel.load(registry.weights(arguments.model))
    sampler = CropSampler(load(arguments.data, CROP), CROP, np.random.default_rng(1))
    model = finer(
        old,
        registry.card(arguments.model).objective,
        sampler,
        anchors=arguments.anchors,
        steps=arguments.steps,
        report=say,
    )
    print(_replace_model(model, arguments))
    if arguments.model in post_model.available():
        _replace_post_processor(old, model, arguments)


def _replace_model(model: CodecModel, arguments: argparse.Namespace) -> str:
    """Put the model and its card into their places, and return what it does on test images."""
    card = registry.card(arguments.model)
    line = (
        f"{arguments.anchors} gain anchors more at the fine end, {arguments.steps} steps of their gains alone"
    )
    model.save(registry.weights(arguments.model))
    changed = replace(
        card,
        model_id=model.model_id,
        lambda_high=Objective.trained(card.objective, model.network.topology.anchors).lambda_high,
        steps=card.steps + arguments.steps,
        commit=commit(),
        history=(*card.history, line),
    )
    return evaluated(changed, arguments.images, arguments.run)


def _replace_post_processor(old: CodecModel, model: CodecModel, arguments: argparse.Namespace) -> None:
    """Put the post-processor and its card into their places."""
    card = post_model.card(arguments.model)
    before = PostModel.load(post_model.weights(arguments.model))
    (trained,) = card.trained
    stretch = (model.network.topology.anchors - 1) / (old.network.topology.anchors - 1)
    post = PostModel.of(stretched(before.network, model.model_id, stretch))
    card = replace(
        card,
        model_id=post.model_id,
        trained=(Trained(model.model_id, round(1 - (1 - trained.finest) / stretch, 4), trained.coarsest),),
        commit=commit(),
        history=(*card.history, f"for {model.model_id}, which is {old.model_id} with a finer end"),
    )
    put(post, card, arguments.images, arguments.run / "files")


def _arguments() -> argparse.Namespace:
    options = parser("models.training.finer", __doc__)
    options.add_argument("--model", required=True, help="name of an exported model, which is replaced")
    options.add_argument("--anchors", type=int, default=3, help="to add")
    options.add_argument("--steps", type=int, default=500, help="of training")
    options.add_argument("--run", type=Path, required=True, help="folder for the evaluation")
    options.add_argument("--images", type=Path, required=True, help="folder of test images for the card")
    return options.parse_args()


if __name__ == "__main__":
    main()
