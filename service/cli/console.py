"""The Typer app, the consoles, options and loading of models that the commands share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from models import Codec
    from models.postprocess.postprocessor import PostProcessor

app = typer.Typer(
    help="Image compression with a learned codec: a photograph in, a stream of the size asked for out.",
    no_args_is_help=True,
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
Output = Annotated[
    Path | None,
    typer.Option("--output", "-o", help="File, or folder for several.", show_default="beside the source"),
]
Profile = Annotated[str, typer.Option(help="Model: ms-ssim (made to look good) or psnr.")]
Device = Annotated[str, typer.Option(help="Where the networks run: cpu, cuda or cuda:N.")]
Format = Annotated[
    str | None,
    typer.Option("--format", help="png, webp, avif or jpeg.", show_default="as -o ends, or png"),
]
Force = Annotated[
    bool, typer.Option("--force", "-f", help="Replace existing files, also those that -o does not name.")
]


def print_table(*rows: list[str], title: str | None = None) -> None:
    """Print rows of the same length to stdout, without a header line."""
    table = Table(title=title, title_justify="left", show_header=False, box=None)
    for _ in rows[0]:
        table.add_column(overflow="fold")  # an id that is cut short is none
    for row in rows:
        table.add_row(*row)
    out.print(table, soft_wrap=False)


def check_profile(name: str) -> None:
    """Raise typer.BadParameter when no model has this name."""
    from models.weights import registry

    if name not in registry.available():
        raise typer.BadParameter(
            f"{name}: the models are {', '.join(registry.available())}", param_hint="--profile"
        )


def load_codec(profile: str, device: str) -> Codec:
    """Load a model and the hybrid codec.

    Raises:
        typer.BadParameter: there is no such model or device.
    """
    from models import Codec

    check_profile(profile)
    with _known(device):
        return Codec.load(profile, device=device)


def load_post_processor(device: str) -> PostProcessor:
    """Load the post-processor of image files.

    Raises:
        typer.BadParameter: there is no such device.
    """
    from models.postprocess.postprocessor import PostProcessor

    with _known(device):
        return PostProcessor.load(device=device)


@contextmanager
def _known(device: str) -> Iterator[None]:
    try:
        yield
    # torch raises these for a device that is misspelt or not there.
    except (RuntimeError, AssertionError) as error:
        raise typer.BadParameter(f"{device}: {str(error).splitlines()[0]}", param_hint="--device") from None
