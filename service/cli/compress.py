"""`ziggurat compress`: images to streams, with a budget for each image or one for all of them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

import typer

from models.weights.registry import DEFAULT

from . import bulk, paths
from .console import (
    AsJson,
    Device,
    DryRun,
    Force,
    Jobs,
    Manner,
    NoOverwrite,
    Output,
    Profile,
    Quiet,
    Verbose,
    app,
    check_device,
    check_profile,
    err,
    load_codec,
    notes,
    over,
)
from .paths import Found
from .progress import (
    Outcome,
    Result,
    Tally,
    finish,
    kept,
    label,
    larger_than_source,
    left_out,
    work_through,
)
from .records import Records, recipe

if TYPE_CHECKING:
    from collections.abc import Callable

    from models import Codec, Stream, Target
    from models.progress import Progress
    from models.rate_control import Metric

    from ..images import Header


class CodecChoice(Enum):
    """A codec to make streams with: the values of `models.codec.CodecName`, slow to import."""

    LEARNED = "learned"
    HYBRID = "hybrid"
    AUTO = "auto"


class MetadataChoice(Enum):
    """Choice of metadata to keep: the values of `models.metadata.Keep`."""

    NONE = "none"
    KEEP = "keep"
    KEEP_WITH_GPS = "keep-with-gps"


class EngineChoice(Enum):
    """What does the work."""

    LOCAL = "local"
    RAY = "ray"


# Texts: a Path would lose a slash of "s3://".
Images = Annotated[
    list[str],
    typer.Argument(
        metavar="SOURCES...",
        help="Images, patterns of them, or folders that are searched all the way down; - is stdin. With "
        "--engine ray also s3://…, gs://… and az://….",
    ),
]
Engine = Annotated[
    EngineChoice,
    typer.Option(
        help="local; or ray, all cores or GPUs of a Ray cluster, for buckets and millions of images: streams "
        "named by their content, and a manifest."
    ),
]
Bpp = Annotated[float | None, typer.Option(help="Budget in bits per pixel, the whole stream counted.")]
MaxBytes = Annotated[int | None, typer.Option(help="Budget in bytes for each stream.")]
Quality = Annotated[float | None, typer.Option(help="Quality from 0 to 100, instead of a budget.")]
MinPsnr = Annotated[
    float | None, typer.Option(help="The smallest stream whose decoded picture has so many dB.")
]
MinMsSsim = Annotated[float | None, typer.Option(help="The same for MS-SSIM; of several all must hold.")]
MinSsimulacra2 = Annotated[float | None, typer.Option(help="The same for SSIMULACRA2.")]
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
Strict = Annotated[
    bool,
    typer.Option("--strict", help="Write no stream that is over its budget; nothing when all together are."),
]
Choice = Annotated[
    CodecChoice,
    typer.Option(
        help="learned; hybrid, which is AVIF in our container; or auto, what suits an image: text is AVIF's."
    ),
]
KeepMetadata = Annotated[
    MetadataChoice,
    typer.Option(
        help="What to keep of EXIF and XMP: none; keep, all but coordinates; or keep-with-gps. It is part of "
        "the budget."
    ),
]


@dataclass(frozen=True, slots=True)
class Options:
    """The options of `ziggurat compress` that hold whatever the budget is."""

    effort: int
    codec: CodecChoice
    strict: bool
    profile: str
    output: str | None
    device: str
    metadata: MetadataChoice
    manner: Manner


@app.command()
def compress(
    sources: Images,
    bpp: Bpp = None,
    max_bytes: MaxBytes = None,
    quality: Quality = None,
    min_psnr: MinPsnr = None,
    min_ms_ssim: MinMsSsim = None,
    min_ssimulacra2: MinSsimulacra2 = None,
    budget_bpp: BudgetBpp = None,
    budget_bytes: BudgetBytes = None,
    metric: BestIn = None,
    strict: Strict = False,
    effort: Effort = 0,
    codec: Choice = CodecChoice.LEARNED,
    profile: Profile = DEFAULT,
    output: Output = None,
    device: Device = "cpu",
    metadata: KeepMetadata = MetadataChoice.NONE,
    engine: Engine = EngineChoice.LOCAL,
    force: Force = False,
    no_overwrite: NoOverwrite = False,
    dry_run: DryRun = False,
    jobs: Jobs = 1,
    as_json: AsJson = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Compress images to streams within a budget: one for each image, or one for all of them
    together.
    """
    from .pictures import suffixes

    manner = Manner(force, no_overwrite, dry_run, jobs, as_json, verbose)
    options = Options(effort, codec, strict, profile, output, device, metadata, manner)
    minima = (min_psnr, min_ms_ssim, min_ssimulacra2)
    budgets = sum(budget is not None for budget in (bpp, max_bytes, quality, budget_bpp, budget_bytes))
    if budgets > 1 or (not budgets and minima == (None, None, None)):
        hint = "--bpp, --max-bytes, --quality, --min-..., --budget-bpp, --budget-bytes"
        raise typer.BadParameter("give exactly one of them", param_hint=hint)
    if (budget_bpp, budget_bytes) != (None, None) and minima != (None, None, None):
        raise typer.BadParameter("are for each image by itself", param_hint="--min-...")
    one_budget = budget_bpp is not None or budget_bytes is not None
    if metric is not None and not one_budget:
        raise typer.BadParameter("is for --budget-bpp and --budget-bytes", param_hint="--metric")
    target = None if one_budget else _target(bpp, max_bytes, quality, minima)
    _check_options(options, target, budget_bpp, budget_bytes)
    if engine is EngineChoice.RAY:
        best_in = None if metric is None else _metric(metric)
        bulk.compress(sources, options, target, bpp=budget_bpp, max_bytes=budget_bytes, metric=best_in)
        return
    if addresses := [source for source in sources if "://" in source and not Path(source).exists()]:
        raise typer.BadParameter(f"{addresses[0]}: addresses are for --engine ray", param_hint="SOURCES")
    found = paths.find([paths.source(source) for source in sources], suffixes())
    if target is None:
        tally = compress_album(found, options, bpp=budget_bpp, max_bytes=budget_bytes, metric=metric)
    else:
        tally = compress_each(found, options, target)
    finish(tally, found, manner)


def _target(
    bpp: float | None,
    max_bytes: int | None,
    quality: float | None,
    minima: tuple[float | None, float | None, float | None],
) -> Target:
    """Make the target of each image. Raises `typer.BadParameter`."""
    from models import Target
    from models.errors import TargetError

    min_psnr, min_ms_ssim, min_ssimulacra2 = minima
    try:
        return Target(
            bpp,
            max_bytes,
            quality,
            min_psnr=min_psnr,
            min_ms_ssim=min_ms_ssim,
            min_ssimulacra2=min_ssimulacra2,
        )
    except TargetError as error:
        raise typer.BadParameter(str(error)) from None


def _check_options(options: Options, target: Target | None, bpp: float | None, max_bytes: int | None) -> None:
    """Refuse a codec that is not for this target. Raises `typer.BadParameter`."""
    from models import Target
    from models.codec import check_auto
    from models.errors import TargetError

    if target is None and options.codec is not CodecChoice.LEARNED:
        raise typer.BadParameter("one budget for all is for the learned codec", param_hint="--codec")
    try:
        if target is None:
            Target(bpp=bpp, max_bytes=max_bytes)
        elif options.codec is CodecChoice.AUTO:
            check_auto(target)
    except TargetError as error:
        hint = None if target else "--budget-bpp, --budget-bytes"
        raise typer.BadParameter(str(error), param_hint=hint) from None


def compress_each(found: Found, options: Options, target: Target) -> Tally:
    """Compress every image to the same target, and count what became of them.

    Raises:
        typer.BadParameter: the options do not make sense.
    """
    from .pictures import header_of, metadata_of, picture_of

    manner = options.manner
    records = Records(keep=found.is_folder)
    targets = paths.targets(
        found,
        options.output,
        becomes=".zgt",
        force=manner.force,
        kept=manner.no_overwrite,
        replaceable=records.is_ours,
    )
    paths.check_stdout(targets.values(), as_json=manner.as_json)
    model = _codec_of(options)

    def work(source: Path, progress: Progress) -> Result:
        if manner.keeps(targets[source]):
            return kept(targets[source])
        file = paths.read(source)
        asked = recipe(
            file,
            "compress",
            target,
            options.codec,
            options.effort,
            _model_id(options.profile),
            options.metadata,
        )
        if not manner.force and records.is_finished(targets[source], asked):
            known = targets[source].read_bytes()
            judged = _judge(source, target, known)
            return Result(Outcome.DONE_BEFORE | judged, facts=_facts(targets[source], known, file, judged))
        if manner.dry_run:
            return _planned(source, targets[source], header_of(file), target)
        carried = metadata_of(file, options.metadata.value)
        stream = model().compress(
            picture_of(file, lambda warning: notes.print(f"{source}: {warning}")),
            bpp=target.bpp,
            max_bytes=target.max_bytes,
            quality=target.quality,
            min_psnr=target.min_psnr,
            min_ms_ssim=target.min_ms_ssim,
            min_ssimulacra2=target.min_ssimulacra2,
            codec=options.codec.value,
            effort=options.effort,
            metadata=carried.metadata,
            progress=progress,
        )
        judged = _judge(source, target, stream.data, strict=options.strict)
        short = bool(target.minima) and not stream.target_met
        if short:
            end = "nothing is written" if options.strict else "it is kept; --strict would refuse it"
            err.print(f"{source}: out of reach: the nearest has {_scores(stream)}; {end}")
            judged |= Outcome.OVER
        facts = _facts(targets[source], stream.data, file, judged)
        facts |= {"target_met": stream.target_met, "dropped": list(carried.dropped)}
        if options.strict and Outcome.OVER in judged:
            return Result(Outcome.OVER, facts=facts)
        records.add(targets[source], asked, stream.data)
        paths.write(targets[source], stream.data)
        remarks = larger_than_source(len(stream.data), len(file)) + left_out(carried.dropped)
        if not (stream.target_met or short or Outcome.OVER in judged):
            remarks.insert(0, "the budget is above the model's range; this is the best stream there is")
        return Result(Outcome.DONE | judged, f"{targets[source]}  {_described(stream)}", facts, remarks)

    return work_through(targets, work, "Compressing", manner, goes_on=found.is_folder)


def _codec_of(options: Options) -> Callable[[], Codec]:
    """Load the model unless it is a dry run; refuse one that is not there, and a device, anyway."""
    if options.manner.dry_run:
        check_profile(options.profile)
        check_device(options.device)
        return lambda: load_codec(options.profile, options.device)
    codec = load_codec(options.profile, options.device)
    return lambda: codec


def _model_id(profile: str) -> str:
    from models.weights import registry

    return registry.card(profile).model_id


def _facts(output: Path, stream: bytes, source: bytes, judged: Outcome) -> dict[str, object]:
    from ..facts import StreamFacts

    return {
        "output": label(output),
        "source_bytes": len(source),
        "larger_than_source": len(stream) > len(source),
        "over_budget": Outcome.OVER in judged,
        **StreamFacts.of(stream).model_dump(),
    }


def _planned(source: Path, output: Path, header: Header, target: Target) -> Result:
    """Say what a stream would be asked for."""
    budget = target.budget(header.pixels)
    asked = [f"{metric} of at least {minimum:g}" for metric, minimum in target.minima.items()]
    if budget is not None:
        asked.append(f"at most {budget} bytes")
    if target.quality is not None:
        asked.append(f"quality {target.quality:g}")
    facts = {"output": label(output), "width": header.width, "height": header.height, "max_bytes": budget}
    line = f"{source} -> {output}  {header.width}x{header.height}  {', '.join(asked)}"
    return Result(Outcome.PLANNED, line, facts)


def _judge(source: Path, target: Target, stream: bytes, *, strict: bool = False) -> Outcome:
    """Say by how much a stream is over its budget, if it is."""
    from models.bitstream import Bitstream

    budget = target.budget(Bitstream.parse(stream).pixels)
    if budget is None or len(stream) <= budget:
        return Outcome(0)
    kept = "nothing is written" if strict else "it is kept; --strict would refuse it"
    err.print(f"{source}: over budget: {over(len(stream), budget)} is the smallest stream there is; {kept}")
    return Outcome.OVER


def compress_album(
    found: Found, options: Options, *, bpp: float | None, max_bytes: int | None, metric: str | None
) -> Tally:
    """Compress all images to one budget, and count what became of them.

    Args:
        found: the images.
        options: what holds whatever the budget is.
        bpp: the budget in bits per pixel of all images.
        max_bytes: the budget in bytes, instead of `bpp`.
        metric: what to be best in; None, what the model was trained for.

    Raises:
        typer.BadParameter: the options do not make sense.
    """
    from .album import AlbumCompressor, is_ours
    from .journal import Journal

    if options.manner.no_overwrite:
        raise typer.BadParameter("one budget for all chooses every stream anew", param_hint="--no-overwrite")
    if paths.STDIN in found.files:
        raise typer.BadParameter("one budget for all reads images twice, and stdin only once")
    if options.output is None or options.output == "-":
        raise typer.BadParameter(
            "one budget needs a folder for its streams and its report", param_hint="--output"
        )
    best_in = None if metric is None else _metric(metric)
    output = Path(options.output)
    journal = Journal(output / "allocation.jsonl")
    targets = paths.targets(
        found,
        f"{options.output}/",  # a folder, for one image too
        becomes=".zgt",
        force=options.manner.force,
        replaceable=lambda target: is_ours(journal, target),
    )
    if options.manner.dry_run:
        check_profile(options.profile)
        check_device(options.device)
        return _plan_album(targets, options.manner, bpp=bpp, max_bytes=max_bytes)
    codec = load_codec(options.profile, options.device).learned
    output.mkdir(parents=True, exist_ok=True)
    album = AlbumCompressor(
        codec,
        targets,
        output,
        journal,
        metric=best_in or codec.metric,
        effort=options.effort,
        strict=options.strict,
        keep=options.metadata.value,
        manner=options.manner,
    )
    return album.run(bpp=bpp, max_bytes=max_bytes)


def _plan_album(
    targets: dict[Path, Path], manner: Manner, *, bpp: float | None, max_bytes: int | None
) -> Tally:
    """Say what would be written, and the budget of all."""
    from .pictures import header_of

    pixels: list[int] = []

    def work(source: Path, _: Progress) -> Result:
        header = header_of(paths.read(source))
        pixels.append(header.pixels)
        facts = {"output": label(targets[source]), "width": header.width, "height": header.height}
        line = f"{source} -> {targets[source]}  {header.width}x{header.height}"
        return Result(Outcome.PLANNED, line, facts)

    tally = work_through(targets, work, "Reading", manner)
    budget = max_bytes if max_bytes is not None else int((bpp or 0) * sum(pixels) / 8)
    notes.print(f"{len(pixels)} streams of together at most {budget} bytes")
    return tally


def _metric(name: str) -> Metric:
    from models.rate_control import Metric

    metrics: tuple[Metric, ...] = get_args(Metric)
    if name not in metrics:
        raise typer.BadParameter(f"{name!r} is none of {' and '.join(metrics)}", param_hint="--metric")
    return metrics[metrics.index(name)]


def _described(stream: Stream) -> str:
    size = f"{stream.width}x{stream.height}  {len(stream.data)} bytes"
    scores = f"  {_scores(stream)}" if stream.scores else ""
    return f"{size}  {stream.bpp:.4f} bpp  quality {stream.quality:.1f}{_judged(stream)}{scores}"


def _scores(stream: Stream) -> str:
    return ", ".join(f"{name} {value:.5g}" for name, value in stream.scores.items())


def _judged(stream: Stream) -> str:
    """Name the codec, unless that goes without saying, and say by how much it won."""
    if stream.auto is None:
        return "" if stream.codec.name == "LEARNED" else "  hybrid"
    unit, digits = (" dB", 2) if stream.auto.metric == "psnr" else ("", 4)
    learned, hybrid = (f"{score:.{digits}f}{unit}" for score in (stream.auto.learned, stream.auto.hybrid))
    return f"  {stream.codec.name.lower()}, by {stream.auto.metric}: learned {learned}, hybrid {hybrid}"
