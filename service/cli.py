"""The command `ziggurat`: the codec on files and folders, its evaluation, and the server.

Exit codes: 0 all went well; 1 an input could not be read or coded (one line says why; the rest of a folder is still done); 2 the command
line does not make sense. Results that were asked for (`info`, `models`, `evaluate`) go to stdout; what tells how the work goes, to stderr.
Nothing heavy is imported before a command runs, so that `--help` answers at once.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Callable, Collection
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markdown import Markdown
from rich.progress import Progress, track
from rich.table import Table

from . import paths

if TYPE_CHECKING:
    from models import Codec
    from models.card import ModelCard

app = typer.Typer(
    help="Image compression with a learned codec: a photograph in, a stream of the size asked for out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help and errors: scripts and logs read them too
)

out = Console(highlight=False, soft_wrap=True, markup=False)
err = Console(highlight=False, soft_wrap=True, markup=False, stderr=True)

Sources = Annotated[list[Path], typer.Argument(exists=True, help="Images, or folders that are searched for them all the way down.")]
Streams = Annotated[list[Path], typer.Argument(exists=True, help="Streams (.zgt), or folders that are searched for them.")]
Output = Annotated[Path | None, typer.Option("--output", "-o", help="File, or folder for several.", show_default="beside the source")]
Profile = Annotated[str, typer.Option(help="Model: ms-ssim (made to look good) or psnr.")]
Device = Annotated[str, typer.Option(help="Where the networks run: cpu, cuda or cuda:N.")]
Force = Annotated[bool, typer.Option("--force", "-f", help="Replace existing files, also those that -o does not name.")]


@app.command()
def compress(
    sources: Sources,
    bpp: Annotated[float | None, typer.Option(help="Budget in bits per pixel, the whole stream counted.")] = None,
    max_bytes: Annotated[int | None, typer.Option(help="Budget in bytes for each stream.")] = None,
    quality: Annotated[float | None, typer.Option(help="Quality from 0 to 100, instead of a budget.")] = None,
    profile: Profile = "ms-ssim",
    output: Output = None,
    device: Device = "cpu",
    force: Force = False,
) -> None:
    """Compress images to streams that never exceed the budget."""
    if sum(option is not None for option in (bpp, max_bytes, quality)) != 1:
        raise typer.BadParameter("give exactly one of them", param_hint="--bpp, --max-bytes, --quality")
    from models import Target
    from models.bitstream import MAX_SIDE
    from models.errors import TargetError

    from .images import decode, open_image

    try:
        target = Target(bpp=bpp, max_bytes=max_bytes, quality=quality)
    except TargetError as error:
        raise typer.BadParameter(str(error)) from None
    targets = paths.targets(sources, output, suffixes=paths.image_suffixes(), becomes=".zgt", force=force)
    codec = _load(profile, device)

    def work(source: Path) -> None:
        picture = decode(open_image(source.read_bytes(), max_pixels=MAX_SIDE**2))
        stream = codec.encode([picture], [target])[0]
        paths.write(targets[source], stream.data)
        size = f"{stream.width}x{stream.height}  {len(stream.data)} bytes  {stream.bpp:.4f} bpp  quality {stream.quality:.1f}"
        err.print(f"{targets[source]}  {size}")
        if not stream.target_met:
            err.print(f"{source}: the budget is outside the model's range; this is the nearest it can do")

    _each(targets, work, "Compressing")


@app.command()
def decompress(
    sources: Streams,
    output: Output = None,
    image_format: Annotated[
        str | None, typer.Option("--format", help="png, webp, avif or jpeg.", show_default="as -o ends, or png")
    ] = None,
    device: Device = "cpu",
    force: Force = False,
) -> None:
    """Decompress streams to images. Each stream says which model it needs."""
    from models import registry
    from models.bitstream import Bitstream

    from .images import ImageFormat, encode

    formats = {known.name.lower(): known for known in ImageFormat} | {"jpg": ImageFormat.JPEG}
    targets = paths.targets(sources, output, suffixes={".zgt"}, becomes=f".{image_format or 'png'}", force=force)
    endings = {target: (image_format or target.suffix.removeprefix(".")).lower() for target in targets.values()}
    if unknown := set(endings.values()) - set(formats):
        raise typer.BadParameter(f"{unknown.pop()!r} is none of {', '.join(formats)}", param_hint="--format, --output")
    load = cache(lambda name: _load(name, device))

    def work(source: Path) -> None:
        data = source.read_bytes()
        codec: Codec = load(registry.name_of(Bitstream.parse(data).model_id.hex()))
        picture = codec.decode([data])[0]
        paths.write(targets[source], encode(picture, formats[endings[targets[source]]]))
        err.print(f"{targets[source]}  {picture.width}x{picture.height}")

    _each(targets, work, "Decompressing")


@app.command()
def info(
    sources: Streams,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line instead of tables.")] = False,
) -> None:
    """Tell what streams hold, without decoding them."""

    def work(source: Path) -> None:
        facts = _facts(source.read_bytes())
        if as_json:
            out.print(json.dumps({"file": str(source)} | facts))
        else:
            _print_table(
                *([name.replace("_", " "), "–" if value is None else str(value)] for name, value in facts.items()), title=str(source)
            )

    _each(paths.files(sources, {".zgt"}), work, "Reading")


@app.command()
def evaluate(
    folder: Annotated[Path, typer.Argument(exists=True, file_okay=False, help="Folder of images, best lossless ones.")],
    against: Annotated[
        str, typer.Option(help="Codecs to compare with: avif, webp, jpeg, or one variant such as avif-444.")
    ] = "avif,webp,jpeg",
    rates: Annotated[str, typer.Option(help="Bits per pixel to ask our rate control for.")] = "0.05,0.1,0.15,0.25,0.5,0.8",
    profile: Annotated[str, typer.Option(help="Models to measure, separated by commas.")] = "ms-ssim,psnr",
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for tables, JSON and plots.")] = Path("results"),
    device: Device = "cpu",
) -> None:
    """Measure rate and distortion on a folder of images, beside other codecs, in real bytes."""
    from models import evaluation
    from models.evaluation.anchors import of_families
    from models.evaluation.run import image_paths

    profiles, families = profile.split(","), tuple(against.split(","))
    for name in profiles:
        _check_profile(name)
    try:
        image_paths(folder)
        of_families(families)
        bits_per_pixel = [float(rate) for rate in rates.split(",")]
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    with Progress(console=err, transient=True, disable=not err.is_terminal) as bar:
        task = bar.add_task("")
        report = evaluation.evaluate(
            folder,
            profiles=profiles,
            against=families,
            output=output,
            rates=bits_per_pixel,
            device=device,
            jobs=os.cpu_count() or 1,
            progress=lambda what, done, of: bar.update(task, description=what, completed=done, total=of),
        )
    out.print(Markdown(report.markdown()) if out.is_terminal else report.markdown(), soft_wrap=not out.is_terminal)
    err.print(f"tables, JSON and plots are in {output}")


@app.command("models")
def list_models() -> None:
    """List the models that come with the package."""
    from models import registry

    def row(card: ModelCard) -> list[str]:
        rates = [point.bpp for point in card.rate_distortion]
        return [card.name, card.model_id, card.distortion, f"{card.steps} steps", f"{min(rates):.2f} to {max(rates):.2f} bpp"]

    _print_table(*(row(registry.card(name)) for name in registry.available()))


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []})
def serve(context: typer.Context) -> None:
    """Serve over HTTP; every setting of the service is a flag (ziggurat serve --help)."""
    import uvicorn
    from pydantic import ValidationError
    from pydantic_settings import CliApp, CliSettingsSource

    from .settings import Settings

    # The settings class makes the flags itself, so that the two cannot differ. A flag wins over the environment.
    flags: CliSettingsSource[Settings] = CliSettingsSource(
        Settings, cli_prog_name="ziggurat serve", cli_kebab_case=True, cli_show_env_vars=True, cli_hide_none_type=True
    )
    try:
        settings = CliApp.run(Settings, cli_args=context.args, cli_settings_source=flags)
    except ValidationError as error:
        first = error.errors()[0]
        hint = "".join(f"--{name}".replace("_", "-") for name in first["loc"]) or None
        raise typer.BadParameter(first["msg"].removeprefix("Value error, "), param_hint=hint) from None
    from .app import create_app

    # Shutting down waits for what was accepted, and no longer than a request may take.
    patience = math.ceil(settings.request_timeout_seconds)
    uvicorn.run(create_app(settings), host=settings.host, port=settings.port, timeout_graceful_shutdown=patience)


@app.command()
def health(
    url: Annotated[str | None, typer.Option(help="Root of the service.", show_default="from ZIGGURAT_HOST and ZIGGURAT_PORT")] = None,
) -> None:
    """Ask a running service whether it is ready; exit code 1 when it is not."""
    from urllib.error import HTTPError
    from urllib.request import urlopen

    from .settings import Settings

    if url is None:
        settings = Settings()
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)
        url = f"http://{f'[{host}]' if ':' in host else host}:{settings.port}"
    try:
        with urlopen(f"{url.rstrip('/')}/readyz", timeout=5):
            out.print("ready")
    except (OSError, ValueError) as error:  # refused, timed out, answered 503, or no URL at all
        if isinstance(error, HTTPError):
            error.close()
        err.print(f"{url}: not ready: {error}")
        raise typer.Exit(1) from None


def main(arguments: list[str] | None = None) -> None:
    """The command; always leaves by SystemExit."""
    try:
        app(arguments)
    except Exception as error:
        from models.errors import CodecError

        if not isinstance(error, CodecError | OSError):
            raise
        err.print(f"ziggurat: {error}")
        raise SystemExit(1) from None


def _facts(stream: bytes) -> dict[str, str | int | float | bool | None]:
    """What a stream's header tells, and which profile that is here (None when its model is not)."""
    from models import registry
    from models.bitstream import VERSION, Bitstream
    from models.errors import UnknownModelError

    header = Bitstream.parse(stream)
    try:
        profile = registry.name_of(header.model_id.hex())
    except UnknownModelError:
        profile = None
    return {
        "id": hashlib.sha256(stream).hexdigest(),
        "bytes": len(stream),
        "bpp": round(8 * len(stream) / (header.width * header.height), 6),
        "width": header.width,
        "height": header.height,
        "format_version": VERSION,
        "codec": header.codec.name.lower(),
        "model_id": header.model_id.hex(),
        "profile": profile,
        "quality": round(header.quality / 655.35, 3),
        "greyscale": header.greyscale,
        "z_bytes": len(header.z),
        "y_bytes": len(header.y),
        "alpha_bytes": None if header.alpha is None else len(header.alpha),
    }


def _print_table(*rows: list[str], title: str | None = None) -> None:
    table = Table(title=title, title_justify="left", show_header=False, box=None)
    for _ in rows[0]:
        table.add_column(overflow="fold")  # an id that is cut short is none
    for row in rows:
        table.add_row(*row)
    out.print(table, soft_wrap=False)


def _each(sources: Collection[Path], work: Callable[[Path], None], description: str) -> None:
    """Work through the sources, with a progress bar when there are several. One that fails is told, and the others are still done."""
    from models.errors import CodecError

    from .images import ImageError

    failed = False
    for source in track(sources, description, console=err, transient=True, disable=len(sources) == 1 or not err.is_terminal):
        try:
            work(source)
        except (CodecError, ImageError, OSError) as error:
            err.print(f"{source}: {error}")
            failed = True
    if failed:
        raise typer.Exit(1)


def _check_profile(name: str) -> None:
    from models import registry

    if name not in registry.available():
        raise typer.BadParameter(f"{name}: the models are {', '.join(registry.available())}", param_hint="--profile")


def _load(profile: str, device: str) -> Codec:
    from models import Codec

    _check_profile(profile)
    try:
        return Codec.load(profile, device=device)
    except (RuntimeError, AssertionError) as error:  # what torch raises for a device that is misspelt or not there
        raise typer.BadParameter(f"{device}: {str(error).splitlines()[0]}", param_hint="--device") from None
