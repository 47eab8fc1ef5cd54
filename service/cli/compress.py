"""`ziggurat compress`: images to streams, with a budget for each image or one for all of them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

import typer

from . import paths
from .console import Device, Force, Output, Profile, Sources, app, err, load_codec
from .progress import work_through

if TYPE_CHECKING:
    from models import Stream
    from models.progress import Progress
    from models.rate_control import Metric


class CodecChoice(Enum):
    """A codec to make streams with: the values of `models.codec.CodecName`, slow to import."""

    LEARNED = "learned"
    HYBRID = "hybrid"
    AUTO = "auto"


Bpp = Annotated[float | None, typer.Option(help="Budget in bits per pixel, the whole stream counted.")]
MaxBytes = Annotated[int | None, typer.Option(help="Budget in bytes for each stream.")]
Quality = Annotated[float | None, typer.Option(help="Quality from 0 to 100, instead of a budget.")]
BudgetBpp = Annotated[
    float | None, typer.Option(help="One budget for all images together, in bits per pixel of all.")
]
BudgetBytes = Annotated[int | None, typer.Option(help="One budget for all images together, in bytes.")]
BestIn = Annotated[
    str | None,
    typer.Option(
        help="What one budget is best in: the mean ms-ssim, or psnr over all pixels.",
        show_default="as the model",
    ),
]
Effort = Annotated[
    int,
    typer.Option(
        min=0,
        max=9,
        help="0 is fast; 9 takes minutes, for a better picture of the same bytes. Decoding costs the same.",
    ),
]
Choice = Annotated[
    CodecChoice,
    typer.Option(
        help="learned; hybrid, which is AVIF in our container; or auto, the better of the two for each image."
    ),
]


@dataclass(frozen=True, slots=True)
class Options:
    """The options of `ziggurat compress` that hold whatever the budget is."""

    effort: int
    codec: CodecChoice
    profile: str
    output: Path | None
    device: str
    force: bool


@app.command()
def compress(
    sources: Sources,
    bpp: Bpp = None,
    max_bytes: MaxBytes = None,
    quality: Quality = None,
    budget_bpp: BudgetBpp = None,
    budget_bytes: BudgetBytes = None,
    metric: BestIn = None,
    effort: Effort = 0,
    codec: Choice = CodecChoice.LEARNED,
    profile: Profile = "ms-ssim",
    output: Output = None,
    device: Device = "cpu",
    force: Force = False,
) -> None:
    """Compress images to streams that never exceed the budget: one for each image, or one for
    all of them together.
    """
    options = Options(effort, codec, profile, output, device, force)
    if sum(budget is not None for budget in (bpp, max_bytes, quality, budget_bpp, budget_bytes)) != 1:
        hint = "--bpp, --max-bytes, --quality, --budget-bpp, --budget-bytes"
        raise typer.BadParameter("give exactly one of them", param_hint=hint)
    if budget_bpp is not None or budget_bytes is not None:
        well = compress_album(sources, options, bpp=budget_bpp, max_bytes=budget_bytes, metric=metric)
    elif metric is not None:
        raise typer.BadParameter("is for --budget-bpp and --budget-bytes", param_hint="--metric")
    else:
        well = compress_each(sources, options, bpp=bpp, max_bytes=max_bytes, quality=quality)
    if not well:
        raise typer.Exit(1)


def compress_each(
    sources: list[Path], options: Options, *, bpp: float | None, max_bytes: int | None, quality: float | None
) -> bool:
    """Compress every image to the same target, one of three, and return whether all went well.

    Raises:
        typer.BadParameter: the options do not make sense.
    """
    from models import Target
    from models.codec import check_auto
    from models.errors import TargetError

    from .pictures import picture_of, suffixes

    try:
        target = Target(bpp=bpp, max_bytes=max_bytes, quality=quality)
        if options.codec is CodecChoice.AUTO:
            check_auto(target)
    except TargetError as error:
        raise typer.BadParameter(str(error)) from None
    targets = paths.targets(sources, options.output, suffixes=suffixes(), becomes=".zgt", force=options.force)
    model = load_codec(options.profile, options.device)

    def work(source: Path, progress: Progress) -> None:
        stream = model.compress(
            picture_of(source.read_bytes(), lambda warning: err.print(f"{source}: {warning}")),
            bpp=bpp,
            max_bytes=max_bytes,
            quality=quality,
            codec=options.codec.value,
            effort=options.effort,
            progress=progress,
        )
        paths.write(targets[source], stream.data)
        err.print(f"{targets[source]}  {_described(stream)}")
        if not stream.target_met:
            err.print(f"{source}: the budget is outside the model's range; this is the nearest it can do")

    return work_through(targets, work, "Compressing")


def compress_album(
    sources: list[Path], options: Options, *, bpp: float | None, max_bytes: int | None, metric: str | None
) -> bool:
    """Compress all images to one budget, and return whether all went well.

    Args:
        sources: images, or folders of them.
        options: what holds whatever the budget is.
        bpp: the budget in bits per pixel of all images.
        max_bytes: the budget in bytes, instead of `bpp`.
        metric: what to be best in; None, what the model was trained for.

    Raises:
        typer.BadParameter: the options do not make sense.
    """
    from models import Target
    from models.errors import TargetError

    from .album import AlbumCompressor, is_ours
    from .journal import Journal
    from .pictures import suffixes

    if options.codec is not CodecChoice.LEARNED:
        raise typer.BadParameter("one budget for all is for the learned codec", param_hint="--codec")
    output = options.output
    if output is None:
        raise typer.BadParameter(
            "one budget needs a folder for its streams and its report", param_hint="--output"
        )
    try:
        Target(bpp=bpp, max_bytes=max_bytes)
    except TargetError as error:
        raise typer.BadParameter(str(error), param_hint="--budget-bpp, --budget-bytes") from None
    best_in = None if metric is None else _metric(metric)
    output.mkdir(parents=True, exist_ok=True)
    journal = Journal(output / "allocation.jsonl")
    targets = paths.targets(
        sources,
        output,
        suffixes=suffixes(),
        becomes=".zgt",
        force=options.force,
        replaceable=lambda target: is_ours(journal, target),
    )
    codec = load_codec(options.profile, options.device).learned
    album = AlbumCompressor(
        codec, targets, output, journal, metric=best_in or codec.metric, effort=options.effort
    )
    return album.run(bpp=bpp, max_bytes=max_bytes)


def _metric(name: str) -> Metric:
    from models.rate_control import Metric

    metrics: tuple[Metric, ...] = get_args(Metric)
    if name not in metrics:
        raise typer.BadParameter(f"{name!r} is none of {' and '.join(metrics)}", param_hint="--metric")
    return metrics[metrics.index(name)]


def _described(stream: Stream) -> str:
    size = f"{stream.width}x{stream.height}  {len(stream.data)} bytes"
    return f"{size}  {stream.bpp:.4f} bpp  quality {stream.quality:.1f}{_judged(stream)}"


def _judged(stream: Stream) -> str:
    """Name the codec, unless that goes without saying, and say by how much it won."""
    if stream.auto is None:
        return "" if stream.codec.name == "LEARNED" else "  hybrid"
    unit, digits = (" dB", 2) if stream.auto.metric == "psnr" else ("", 4)
    learned, hybrid = (f"{score:.{digits}f}{unit}" for score in (stream.auto.learned, stream.auto.hybrid))
    return f"  {stream.codec.name.lower()}, by {stream.auto.metric}: learned {learned}, hybrid {hybrid}"
