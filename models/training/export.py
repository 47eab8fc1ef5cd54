"""Export a run: integers, tables, weights in half precision, and the card with what they measure.

python -m models.training.export --run runs/psnr --name psnr --data train/ --images kodak/
"""

from __future__ import annotations

import argparse
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np

from models.evaluation import EvaluationOptions, evaluate
from models.learned.model import CodecModel
from models.learned.objective import FORMULAS, Objective
from models.training.arguments import add_export, parser, say
from models.training.crops import CropSampler, content_hash, load
from models.training.loop import Recipe, trained_network
from models.training.run import WEIGHTS as WEIGHTS_OF_RUN
from models.training.run import RunWeights
from models.training.scale_decoder import finish
from models.weights import registry
from models.weights.card import ModelCard, RatePoint
from models.weights.registry import WEIGHTS


def main() -> None:
    """Export."""
    arguments = _arguments()
    trained = RunWeights.load(arguments.run / WEIGHTS_OF_RUN)
    recipe = Recipe(**trained.recipe)
    rng = np.random.default_rng(recipe.seed)
    model = finish(
        trained_network(arguments.run / WEIGHTS_OF_RUN),
        CropSampler(load(arguments.data, recipe.crop), recipe.crop, rng),
        steps=arguments.scale_steps,
        context_steps=arguments.context_steps,
        context_crops=arguments.context_crops,
        emphasised_to=recipe.emphasised_to,
        report=say,
    )
    card = _card(arguments, recipe, trained, model)
    model.save(WEIGHTS / f"{card.name}.safetensors")
    print(evaluated(card, arguments.images, arguments.run))


def evaluated(card: ModelCard, images: Path, output: Path) -> str:
    """Write the card of a model whose weights are in place, with what it does on test images.

    Args:
        card: without its points, or with old ones.
        images: folder of the test images.
        output: folder for the results of the evaluation.

    Returns:
        The results in Markdown.
    """
    path = WEIGHTS / f"{card.name}.json"
    card.save(path)  # without which the codec cannot be loaded
    registry.card.cache_clear()
    report = evaluate(
        images,
        output,
        EvaluationOptions(profiles=(card.name,), judges=("ssimulacra2",)),
        on_step=lambda what, done, of: say(f"{what}: {done} of {of}"),
    )
    points = tuple(
        RatePoint(
            quality=round(mean.setting, 2),
            bpp=round(mean.bpp, 4),
            psnr=round(mean.psnr, 3),
            ms_ssim=round(mean.ms_ssim, 5),
            ssimulacra2=round(mean.scores["ssimulacra2"], 2) if "ssimulacra2" in mean.scores else None,
        )
        for mean in report.curves[0].means
    )
    replace(card, evaluated_on=report.name, rate_distortion=points).save(path)
    return report.markdown()


def commit() -> str:
    """Name the commit of this repository that is checked out; "unknown" outside of one."""
    result = subprocess.run(
        ["git", "rev-parse", "HEAD"],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parent,
    )
    return result.stdout.strip() or "unknown"


def _arguments() -> argparse.Namespace:
    options = parser("models.training.export", __doc__)
    add_export(options)
    options.add_argument("--name", required=True, help="of the model, such as psnr")
    options.add_argument(
        "--scale-steps", type=int, default=600, help="training steps of the integer scale decoder"
    )
    options.add_argument(
        "--context-steps", type=int, default=2000, help="training steps of the context networks"
    )
    options.add_argument(
        "--context-crops",
        type=int,
        default=1600,
        help="crops whose symbols those learn from, and the tables",
    )
    return options.parse_args()


def _card(arguments: argparse.Namespace, recipe: Recipe, trained: RunWeights, model: CodecModel) -> ModelCard:
    """Describe the model, before it is evaluated."""
    objective = Objective.trained(recipe.distortion, model.network.topology.anchors)
    last_phase = (
        f"{arguments.scale_steps} steps of the integer scale decoder and "
        f"{arguments.context_steps} of the context networks ({arguments.context_crops} crops), "
        "everything else frozen; tables counted on what the encoder makes"
    )
    return ModelCard(
        name=arguments.name,
        model_id=model.model_id,
        distortion=FORMULAS[objective.distortion],
        objective=objective.distortion,
        lambda_low=objective.lambda_low,
        lambda_high=objective.lambda_high,
        steps=arguments.earlier_steps + trained.step,
        data_sha256=content_hash(arguments.data),
        commit=commit(),
        parameters=sum(parameter.numel() for parameter in model.network.parameters()),
        history=(*arguments.history, trained.history_line(recipe), last_phase),
        evaluated_on="",
        rate_distortion=(),
    )


if __name__ == "__main__":
    main()
