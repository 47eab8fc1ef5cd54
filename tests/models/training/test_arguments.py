"""models.training.arguments: options follow from the recipe"""

from __future__ import annotations

import sys
from importlib import import_module

import pytest

from models.training.arguments import add_run, parser, recipe_from
from models.training.loop import Recipe

REQUIRED = ["--data", "train", "--run", "runs/a"]
COMMANDS = {
    "models.training": "models.training.__main__",
    "models.training.pack": "models.training.pack",
    "models.training.export": "models.training.export",
    "models.training.postprocess.pairs": "models.training.postprocess.pairs",
    "models.training.postprocess.train": "models.training.postprocess.train",
    "models.training.postprocess.export": "models.training.postprocess.export",
}


def test_every_field_of_a_recipe_is_an_option() -> None:
    options = parser("models.training", "Train.")
    add_run(options, Recipe)
    assert recipe_from(options.parse_args(REQUIRED), Recipe) == Recipe()
    given = ["--steps", "7", "--learning-rate", "0.1", "--emphasised-to", "0.9", "--distortion", "ms-ssim"]
    recipe = recipe_from(options.parse_args([*REQUIRED, *given]), Recipe)
    assert recipe == Recipe(steps=7, learning_rate=0.1, emphasised_to=0.9, distortion="ms-ssim")


def test_a_word_that_the_recipe_does_not_know_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    options = parser("models.training", "Train.")
    add_run(options, Recipe)
    with pytest.raises(SystemExit):
        options.parse_args([*REQUIRED, "--distortion", "ssim"])
    assert "invalid choice: 'ssim'" in capsys.readouterr().err


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_explains_itself_by_its_own_name(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module = import_module(COMMANDS[command])
    monkeypatch.setattr(sys, "argv", ["command", "--help"])
    with pytest.raises(SystemExit, match="0"):
        module.main()
    shown = capsys.readouterr().out
    assert shown.startswith(f"usage: python -m {command} ")
    assert f"\npython -m {command} " in shown, "an example"
