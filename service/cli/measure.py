"""`ziggurat evaluate`: how well the models do."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from models.weights.registry import SHIPPED

from .console import Device, Quiet, app, check_device, check_profile, cores, is_silent, notes, out


@app.command()
def evaluate(
    folder: Annotated[
        Path, typer.Argument(exists=True, file_okay=False, help="Folder of images, best lossless ones.")
    ],
    against: Annotated[
        str,
        typer.Option(
            help="Codecs to compare with: avif, webp, jpeg, jxl, heic, vvc, or one variant such as avif-444."
        ),
    ] = "avif,webp,jpeg,jxl,heic",
    rates: Annotated[
        str, typer.Option(help="Bits per pixel to ask our rate control for.")
    ] = "0.05,0.1,0.15,0.25,0.5,0.8",
    profile: Annotated[str, typer.Option(help="Models to measure, separated by commas.")] = ",".join(SHIPPED),
    effort: Annotated[
        str, typer.Option(help="Efforts of our encoder, 0 to 9, separated by commas; a curve for each.")
    ] = "0",
    judges: Annotated[
        str,
        typer.Option(
            help="Metrics beside PSNR and MS-SSIM, separated by commas: jpeg-ai (seven), held-out (four), "
            "all, none, or by name."
        ),
    ] = "ssimulacra2,vmaf-neg",
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for tables, JSON and plots.")] = Path(
        "results"
    ),
    device: Device = "cpu",
    jobs: Annotated[
        int, typer.Option("--jobs", "-j", min=1, help="Streams at the same time.", show_default="all cores")
    ] = cores(),
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the results as JSON instead of tables.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Measure rate and distortion on a folder of images, beside other codecs, in real bytes."""
    _check_extra("matplotlib", "pillow_heif", "pillow_jxl")
    _check_output(folder, output)
    from rich.markdown import Markdown
    from rich.progress import Progress

    from models import evaluation
    from models.evaluation.anchors import of_families
    from models.evaluation.judges import modules, named
    from models.evaluation.run import image_paths
    from models.learned.codec import EFFORTS

    profiles = profile.split(",")
    families = tuple(against.split(","))
    for name in profiles:
        check_profile(name)
    check_device(device)
    try:
        image_paths(folder)
        of_families(families)
        chosen = named(judges)
        bits_per_pixel = [float(rate) for rate in rates.split(",")]
        efforts = [EFFORTS[int(number)] for number in effort.split(",")]
    except IndexError:
        raise typer.BadParameter(f"{effort} is not from 0 to {EFFORTS[-1]}", param_hint="--effort") from None
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    _check_extra(*modules(chosen))
    with Progress(console=notes, transient=True, disable=is_silent()) as bar:
        task = bar.add_task("")
        options = evaluation.EvaluationOptions(
            profiles=profiles,
            against=families,
            rates=bits_per_pixel,
            efforts=efforts,
            judges=chosen,
            device=device,
            jobs=jobs,
        )
        report = evaluation.evaluate(
            folder,
            output,
            options,
            on_step=lambda what, done, of: bar.update(task, description=what, completed=done, total=of),
        )
    if as_json:
        out.print(report.json(), end="")
        return
    out.print(
        Markdown(report.markdown()) if out.is_terminal else report.markdown(), soft_wrap=not out.is_terminal
    )
    notes.print(f"tables, JSON and plots are in {output}")


def _check_extra(*needed: str) -> None:
    """Raise ModuleNotFoundError that names the extra when one of these modules is not installed."""
    if missing := [name for name in needed if find_spec(name) is None]:
        raise ModuleNotFoundError(
            f"evaluate needs {', '.join(missing)}: pip install 'ziggurat[evaluation]', or make setup"
        )


def _check_output(folder: Path, output: Path) -> None:
    """Keep plots and crops apart from the images: the next run would measure them too."""
    if output.exists() and not output.is_dir():
        raise typer.BadParameter(f"{output} is a file, and a folder is needed", param_hint="--output")
    if output.exists() and output.samefile(folder):
        raise typer.BadParameter(f"{output} is the folder of the images", param_hint="--output")
