"""Arguments: the options that the commands of training have in common, and how they print."""

from __future__ import annotations

import argparse
from dataclasses import fields
from pathlib import Path
from typing import TypeVar, get_args, get_type_hints

from models.training.run import Schedule

Recipe = TypeVar("Recipe", bound=Schedule)


def parser(module: str, description: str | None) -> argparse.ArgumentParser:
    """Make the parser of `python -m module`, with --data, which every command of training takes."""
    made = argparse.ArgumentParser(
        prog=f"python -m {module}", description=description, formatter_class=argparse.RawTextHelpFormatter
    )
    made.add_argument("--data", type=Path, required=True, help="folder of .tar shards of training images")
    return made


def add_run(to: argparse.ArgumentParser, recipe: type[Schedule]) -> None:
    """Add the options of a run: its folder, its device, and one for every field of the recipe."""
    to.add_argument("--run", type=Path, required=True, help="folder of the run: checkpoint, weights, log")
    to.add_argument("--device", default="cpu")
    types = get_type_hints(recipe)
    for field in fields(recipe):
        to.add_argument(
            f"--{field.name.replace('_', '-')}",
            type=type(field.default),
            default=field.default,
            choices=get_args(types[field.name]) or None,  # those of a Literal
        )


def recipe_from(arguments: argparse.Namespace, recipe: type[Recipe]) -> Recipe:
    """Read a recipe from the options that `add_run` added."""
    return recipe(**{field.name: getattr(arguments, field.name) for field in fields(recipe)})


def add_export(to: argparse.ArgumentParser) -> None:
    """Add the options of an export: the run, the card's test images, what came before the run."""
    to.add_argument("--run", type=Path, required=True, help="folder of the training run")
    to.add_argument("--images", type=Path, required=True, help="folder of test images for the card")
    to.add_argument(
        "--earlier-steps", type=int, default=0, help="steps of the weights that the run started from"
    )
    to.add_argument(
        "--history", action="append", default=[], help="a line about the weights that the run started from"
    )


def say(line: str) -> None:
    """Print a line at once, also into a file or a pipe."""
    print(line, flush=True)
