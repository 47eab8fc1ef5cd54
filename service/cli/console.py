"""The Typer app, the consoles, options and loading of models that the commands share."""

from __future__ import annotations

from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from models import Codec
    from models.postprocess.postprocessor import PostProcessor

app = typer.Typer(
    no_args_is_help=True,
    invoke_without_command=True,  # for --version
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help and errors: scripts and logs read them too
)

out = Console(highlight=False, soft_wrap=True, markup=False)
err = Console(highlight=False, soft_wrap=True, markup=False, stderr=True)

Sources = Annotated[
    list[Path],
    typer.Argument(exists=True, help="Images, or folders that are searched for them all the way down."),
]
Streams = Annotated[
    list[Path], typer.Argument(exists=True, help="Streams (.zgt), or folders that are searched for them.")
]
# A text: a Path would lose the "/" by which a folder is told.
Output = Annotated[
    str | None,
    typer.Option(
        "--output",
        "-o",
        help="File; or folder, for several or when it ends in /.",
        show_default="beside the source",
    ),
]
Profile = Annotated[str, typer.Option(help="Model: ms-ssim (made to look good) or psnr.")]
Device = Annotated[str, typer.Option(help="Where the networks run: cpu, cuda or cuda:N.")]
Format = Annotated[
    str | None,
    typer.Option("--format", help="png, webp, avif or jpeg.", show_default="as -o ends, or png"),
]
Force = Annotated[bool, typer.Option("--force", "-f", help="Replace existing files, but never a source.")]
Verbose = Annotated[
    bool, typer.Option("--verbose", "-v", help="Name the files of other kinds that a folder holds.")
]


class ExitCode(IntEnum):
    """The exit codes of every command; docs/cli.md has the table."""

    OK = 0
    FAILED = 1
    USAGE = 2
    OVER_BUDGET = 3
    INTERRUPTED = 130


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, help="Print the version, and do nothing else.")
    ] = False,
) -> None:
    """Learned image compression: a photograph in, a stream of the size asked for out."""
    if version:
        from .. import __version__

        out.print(f"ziggurat {__version__}")
        raise typer.Exit


def print_table(*rows: list[str], title: str | None = None) -> None:
    """Print rows of the same length to stdout, without a header line.

    On a terminal long cells are folded. Elsewhere each row is one line, however long: programs read
    them.
    """
    if not out.is_terminal:
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)
        out.print("\n".join([title, *lines] if title else lines))
        return
    table = Table(title=title, title_justify="left", show_header=False, box=None)
    for _ in rows[0]:
        table.add_column(overflow="fold")  # an id that is cut short is none
    for row in rows:
        table.add_row(*row)
    out.print(table, soft_wrap=False)


def over(size: int, budget: int) -> str:
    """Say by how much so many bytes are over a budget."""
    return f"{size} bytes, {size - budget} over the {budget} asked for,"


def check_profile(name: str, *, option: str = "--profile") -> None:
    """Raise typer.BadParameter when no model has this name."""
    from models.weights import registry

    if name not in registry.available():
        raise typer.BadParameter(
            f"{name}: the models are {', '.join(registry.available())}", param_hint=option
        )


def load_codec(profile: str, device: str) -> Codec:
    """Load a model and the hybrid codec.

    Raises:
        typer.BadParameter: there is no such model or device.
    """
    from models import Codec

    check_profile(profile)
    check_device(device)
    return Codec.load(profile, device=device)


def load_post_processor(device: str) -> PostProcessor:
    """Load the post-processor of image files.

    Raises:
        typer.BadParameter: there is no such device.
    """
    from models.postprocess.postprocessor import PostProcessor

    check_device(device)
    return PostProcessor.load(device=device)


def check_device(name: str) -> None:
    """Raise typer.BadParameter when networks cannot run there."""
    from models import tensors
    from models.errors import OptionError

    try:
        tensors.check_device(name)
    except OptionError as error:
        raise typer.BadParameter(str(error), param_hint="--device") from None
