"""The Typer app, the consoles, options and loading of models that the commands share."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from enum import IntEnum
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from . import paths

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
notes = Console(highlight=False, soft_wrap=True, markup=False, stderr=True)
"""What is no error and was not asked for; --quiet silences it."""


def _quieten(quiet: bool) -> bool:
    notes.quiet = quiet
    return quiet


def is_silent() -> bool:
    """Tell whether there is nobody to show a progress bar to."""
    return notes.quiet or not notes.is_terminal


def cores() -> int:
    """Number of CPU cores that the process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _count(argument: object) -> int:
    """Read a number of jobs: 1 or more, or "all"."""
    if argument == "all":
        return cores()
    try:
        jobs = int(str(argument))
    except ValueError:
        jobs = 0
    if jobs < 1:
        raise typer.BadParameter(f"{argument} is neither a number from 1 nor all")
    return jobs


Sources = Annotated[
    list[Path],
    typer.Argument(
        parser=paths.source,
        metavar="SOURCES...",
        help="Images, patterns of them, or folders that are searched all the way down; - is stdin.",
    ),
]
Streams = Annotated[
    list[Path],
    typer.Argument(
        parser=paths.source,
        metavar="SOURCES...",
        help="Streams (.zgt), patterns of them, or folders that are searched for them; - is stdin.",
    ),
]
# A text: a Path would lose the "/" by which a folder is told.
Output = Annotated[
    str | None,
    typer.Option(
        "--output",
        "-o",
        help="File; folder, for several or when it ends in /; or -, stdout.",
        show_default="beside the source, and stdout for stdin",
    ),
]
Profile = Annotated[str, typer.Option(help="Model: visual (made to look good), ms-ssim or psnr.")]
Device = Annotated[str, typer.Option(help="Where the networks run: cpu, cuda or cuda:N.")]
Format = Annotated[
    str | None,
    typer.Option("--format", help="png, webp, avif or jpeg.", show_default="as -o ends, or png"),
]
Force = Annotated[bool, typer.Option("--force", "-f", help="Replace existing files, but never a source.")]
NoOverwrite = Annotated[
    bool, typer.Option("--no-overwrite", help="Leave every existing file as it is, and do the others.")
]
DryRun = Annotated[
    bool,
    typer.Option("--dry-run", "-n", help="Read the headers, say what would be written where, write nothing."),
]
Jobs = Annotated[
    int,
    typer.Option("--jobs", "-j", parser=_count, metavar="N|all", help="Files at the same time."),
]
AsJson = Annotated[bool, typer.Option("--json", help="On stdout one JSON object a line for each file.")]
Quiet = Annotated[
    bool,
    typer.Option("--quiet", "-q", callback=_quieten, help="Print errors alone, and what was asked for."),
]
Verbose = Annotated[
    bool, typer.Option("--verbose", "-v", help="Name the files of other kinds that a folder holds.")
]


@dataclass(frozen=True, slots=True)
class Manner:
    """Manner of going about files: the options that all such commands share.

    Raises:
        typer.BadParameter: they contradict each other.
    """

    force: bool = False
    no_overwrite: bool = False
    dry_run: bool = False
    jobs: int = 1
    as_json: bool = False
    verbose: bool = False

    def __post_init__(self) -> None:
        if self.force and self.no_overwrite:
            raise typer.BadParameter("one or the other", param_hint="--force, --no-overwrite")

    def keeps(self, target: Path) -> bool:
        """Tell whether a result must not be written, as there is a file."""
        return self.no_overwrite and target.is_file()


PLAIN = Manner()
"""The manner when no option is given."""


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


def print_json(facts: dict[str, object]) -> None:
    """Print one line of JSON to stdout; null stands for what is infinite."""
    finite = {
        name: None if isinstance(value, float) and not isfinite(value) else value
        for name, value in facts.items()
    }
    out.print(json.dumps(finite, allow_nan=False))


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
