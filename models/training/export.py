"""Export a run: the integer scale decoder, the tables, the weights in half precision, and the card with what the model measures.

python -m models.training.export --run runs/psnr --name psnr --data train/ --images kodak/
"""

from __future__ import annotations

import argparse
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from models.evaluation import evaluate
from models.learned.objective import FORMULAS, OBJECTIVES
from models.training.crops import CropSampler, content_hash, load
from models.training.loop import Recipe, averaged_model
from models.training.run import CHECKPOINT
from models.training.scale_decoder import finish
from models.weights.card import ModelCard, RatePoint
from models.weights.registry import WEIGHTS


def commit() -> str:
    """Of this repository, as it is checked out."""
    result = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False, cwd=Path(__file__).parent)
    return result.stdout.strip() or "unknown"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m models.training.export", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--run", type=Path, required=True, help="folder of the training run")
    parser.add_argument("--name", required=True, help="of the model: psnr or ms-ssim")
    parser.add_argument("--data", type=Path, required=True, help="folder of .tar shards of training images")
    parser.add_argument("--images", type=Path, required=True, help="folder of test images for the card")
    parser.add_argument("--scale-steps", type=int, default=600, help="training steps of the integer scale decoder")
    parser.add_argument("--context-steps", type=int, default=2000, help="training steps of the context networks")
    parser.add_argument("--context-crops", type=int, default=1600, help="crops whose symbols those learn from, and the tables")
    parser.add_argument("--earlier-steps", type=int, default=0, help="steps of the weights that the run started from")
    parser.add_argument("--history", action="append", default=[], help="a line about the weights that the run started from")
    return parser.parse_args()


def main() -> None:
    """The command."""
    arguments = _arguments()
    state: dict[str, Any] = torch.load(arguments.run / CHECKPOINT, map_location="cpu", weights_only=True)
    recipe, step = Recipe(**state["recipe"]), state["step"]
    sampler = CropSampler(load(arguments.data, recipe.crop), recipe.crop, np.random.default_rng(recipe.seed))
    network = averaged_model(arguments.run / CHECKPOINT)
    model = finish(
        network,
        sampler,
        steps=arguments.scale_steps,
        context_steps=arguments.context_steps,
        context_crops=arguments.context_crops,
        emphasised_to=recipe.emphasised_to,
        report=lambda line: print(line, flush=True),
    )

    objective = OBJECTIVES[recipe.distortion]
    history = [
        *arguments.history,
        f"{recipe.described(step)}, {state['seconds'] / 60:.0f} minutes, weights averaged at {recipe.averaging}",
        f"{arguments.scale_steps} steps of the integer scale decoder and {arguments.context_steps} of the context networks "
        f"({arguments.context_crops} crops), everything else frozen; tables counted on what the encoder makes",
    ]
    card = ModelCard(
        name=arguments.name,
        model_id=model.model_id,
        distortion=FORMULAS[objective.distortion],
        objective=objective.distortion,
        lambda_low=objective.lambda_low,
        lambda_high=objective.lambda_high,
        steps=arguments.earlier_steps + step,
        data_sha256=content_hash(arguments.data),
        commit=commit(),
        parameters=sum(parameter.numel() for parameter in model.network.parameters()),
        history=tuple(history),
        evaluated_on="",
        rate_distortion=(),
    )
    model.save(WEIGHTS / f"{arguments.name}.safetensors")
    card.save(WEIGHTS / f"{arguments.name}.json")

    report = evaluate(arguments.images, profiles=[arguments.name], against=(), output=arguments.run, progress=_say)
    points = (
        RatePoint(round(mean.setting, 2), round(mean.bpp, 4), round(mean.psnr, 3), round(mean.ms_ssim, 5))
        for mean in report.curves[0].means
    )
    replace(card, evaluated_on=report.name, rate_distortion=tuple(points)).save(WEIGHTS / f"{arguments.name}.json")
    print(report.markdown())


def _say(what: str, done: int, of: int) -> None:
    print(f"{what}: {done} of {of}", flush=True)


if __name__ == "__main__":
    main()
