"""`ziggurat completion`: the script by which a shell completes commands, options and files."""

from __future__ import annotations

import os
from enum import Enum
from typing import Annotated

import typer
from typer.completion import (  # type: ignore[attr-defined]  # only imported there, in every version
    completion_init,
    get_completion_script,
)

from .console import app, out

VARIABLE = "_ZIGGURAT_COMPLETE"  # by which the script asks what may come next


class Shell(Enum):
    """A shell that can complete."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


@app.command()
def completion(shell: Annotated[Shell, typer.Argument(help="Your shell.")]) -> None:
    """Print the script that teaches a shell to complete: source <(ziggurat completion bash)."""
    script = get_completion_script(prog_name="ziggurat", complete_var=VARIABLE, shell=shell.value)
    out.print(script)


def prepare() -> None:
    """Get ready to answer a shell, if one asks; the app itself then does."""
    if VARIABLE in os.environ:
        completion_init()
