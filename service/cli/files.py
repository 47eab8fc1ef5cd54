"""`ziggurat compress`, `decompress`, `enhance` and `info`: the codec and the post-processor on files and folders."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable
from enum import Enum
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from . import paths
from .console import Device, Force, Format, Output, Profile, Sources, Streams, app, err, load_codec, load_post_processor, out, print_table
from .progress import each

if TYPE_CHECKING:
    from models import Codec, Stream
    from models.progress import Progress
    from models.rate_control import Metric

    from ..images import ImageFormat


class CodecChoice(Enum):
    """What may make a stream; the values are those of `models.codec.CodecName`, which would be slow to import."""

    LEARNED = "learned"
    HYBRID = "hybrid"
    AUTO = "auto"


class PostprocessMode(Enum):
    """When to post-process; the values are those of `models.postprocess.postprocessor.Postprocess`."""

    AUTO = "auto"
    ON = "on"
    OFF = "off"


@app.command()
def compress(
    sources: Sources,
    bpp: Annotated[float | None, typer.Option(help="Budget in bits per pixel, the whole stream counted.")] = None,
    max_bytes: Annotated[int | None, typer.Option(help="Budget in bytes for each stream.")] = None,
    quality: Annotated[float | None, typer.Option(help="Quality from 0 to 100, instead of a budget.")] = None,
    budget_bpp: Annotated[float | None, typer.Option(help="One budget for all images together, in bits per pixel of all.")] = None,
    budget_bytes: Annotated[int | None, typer.Option(help="One budget for all images together, in bytes.")] = None,
    metric: Annotated[
        str | None, typer.Option(help="What one budget is best in: the mean ms-ssim, or psnr over all pixels.", show_default="as the model")
    ] = None,
    effort: Annotated[
        int, typer.Option(min=0, max=9, help="0 is fast; 9 takes minutes, for a better picture of the same bytes. Decoding costs the same.")
    ] = 0,
    codec: Annotated[
        CodecChoice, typer.Option(help="learned; hybrid, which is AVIF in our container; or auto, the better of the two for each image.")
    ] = CodecChoice.LEARNED,
    profile: Profile = "ms-ssim",
    output: Output = None,
    device: Device = "cpu",
    force: Force = False,
) -> None:
    """Compress images to streams that never exceed the budget: one for each image, or one for all of them together."""
    if sum(option is not None for option in (bpp, max_bytes, quality, budget_bpp, budget_bytes)) != 1:
        hint = "--bpp, --max-bytes, --quality, --budget-bpp, --budget-bytes"
        raise typer.BadParameter("give exactly one of them", param_hint=hint)
    if budget_bpp is not None or budget_bytes is not None:
        if codec is not CodecChoice.LEARNED:
            raise typer.BadParameter("one budget for all is for the learned codec", param_hint="--codec")
        _together(sources, budget_bpp, budget_bytes, metric, effort, profile, output, device, force)
        return
    if metric is not None:
        raise typer.BadParameter("is for --budget-bpp and --budget-bytes", param_hint="--metric")
    from models import Target
    from models.codec import check_auto
    from models.errors import TargetError
    from models.grid import MAX_SIDE

    from ..images import decode, open_image

    try:
        target = Target(bpp=bpp, max_bytes=max_bytes, quality=quality)
        if codec is CodecChoice.AUTO:
            check_auto(target)
    except TargetError as error:
        raise typer.BadParameter(str(error)) from None
    targets = paths.targets(sources, output, suffixes=paths.image_suffixes(), becomes=".zgt", force=force)
    model = load_codec(profile, device)

    def work(source: Path, progress: Progress) -> None:
        picture = decode(open_image(source.read_bytes(), max_pixels=MAX_SIDE**2))
        stream = model.compress(picture, bpp=bpp, max_bytes=max_bytes, quality=quality, codec=codec.value, effort=effort, progress=progress)
        paths.write(targets[source], stream.data)
        size = f"{stream.width}x{stream.height}  {len(stream.data)} bytes  {stream.bpp:.4f} bpp  quality {stream.quality:.1f}"
        err.print(f"{targets[source]}  {size}{_judged(stream)}")
        if not stream.target_met:
            err.print(f"{source}: the budget is outside the model's range; this is the nearest it can do")

    _all(targets, work, "Compressing")


def _judged(stream: Stream) -> str:
    """Which codec it was, unless that goes without saying, and by how much."""
    if stream.auto is None:
        return "" if stream.codec.name == "LEARNED" else "  hybrid"
    unit, digits = (" dB", 2) if stream.auto.metric == "psnr" else ("", 4)
    learned, hybrid = (f"{score:.{digits}f}{unit}" for score in (stream.auto.learned, stream.auto.hybrid))
    return f"  {stream.codec.name.lower()}, by {stream.auto.metric}: learned {learned}, hybrid {hybrid}"


def _together(
    sources: list[Path],
    bpp: float | None,
    max_bytes: int | None,
    metric: str | None,
    effort: int,
    profile: str,
    output: Path | None,
    device: str,
    force: bool,
) -> None:
    from models import Target
    from models.errors import TargetError

    from .album import AlbumCompressor, is_ours
    from .journal import Journal

    if output is None:
        raise typer.BadParameter("one budget needs a folder for its streams and its report", param_hint="--output")
    try:
        Target(bpp=bpp, max_bytes=max_bytes)
    except TargetError as error:
        raise typer.BadParameter(str(error), param_hint="--budget-bpp, --budget-bytes") from None
    judged_by: Metric = "psnr" if (metric or profile) == "psnr" else "ms-ssim"
    if metric not in (None, judged_by):
        raise typer.BadParameter(f"{metric!r} is none of ms-ssim and psnr", param_hint="--metric")
    output.mkdir(parents=True, exist_ok=True)
    journal = Journal(output / "allocation.jsonl")
    targets = paths.targets(
        sources, output, suffixes=paths.image_suffixes(), becomes=".zgt", force=force, replaceable=lambda target: is_ours(journal, target)
    )
    together = AlbumCompressor(load_codec(profile, device).learned, targets, output, journal, metric=judged_by, effort=effort)
    if not together.run(bpp=bpp, max_bytes=max_bytes):
        raise typer.Exit(1)


@app.command()
def decompress(
    sources: Streams,
    output: Output = None,
    image_format: Format = None,
    postprocess: Annotated[
        PostprocessMode, typer.Option(help="Take out what compressing left: auto, as the stream recommends; on, in any case; or off.")
    ] = PostprocessMode.AUTO,
    device: Device = "cpu",
    force: Force = False,
) -> None:
    """Decompress streams to images. Each stream says which model it needs."""
    from models.bitstream import Bitstream, CodecKind
    from models.hybrid.codec import HybridCodec
    from models.weights import registry

    from ..images import encode

    targets = paths.targets(sources, output, suffixes={".zgt"}, becomes=f".{image_format or 'png'}", force=force)
    formats = _formats(targets.values(), image_format)
    load = cache(lambda name: load_codec(name, device))
    load_hybrid = cache(lambda: HybridCodec.load(device=device))

    def work(source: Path, _: Progress) -> None:
        data = source.read_bytes()
        header = Bitstream.parse(data)
        if header.codec is CodecKind.HYBRID:
            picture = load_hybrid().decode(data, postprocess=postprocess.value)
        else:
            codec: Codec = load(registry.name_of(header.model_id.hex()))
            picture = codec.learned.decode([data], postprocess=postprocess.value)[0]
        paths.write(targets[source], encode(picture, formats[targets[source]]))
        err.print(f"{targets[source]}  {picture.width}x{picture.height}")

    _all(targets, work, "Decompressing")


@app.command()
def enhance(
    sources: Sources,
    output: Output = None,
    image_format: Format = None,
    device: Device = "cpu",
    force: Force = False,
) -> None:
    """Take the artefacts out of JPEG, WebP and AVIF files."""
    from models.grid import MAX_SIDE

    from ..images import decode_as_coded, encode, finished, open_lossy

    targets = paths.targets(sources, output, suffixes={".jpg", ".jpeg", ".webp", ".avif"}, becomes=f".{image_format or 'png'}", force=force)
    formats = _formats(targets.values(), image_format)
    post_processor = load_post_processor(device)

    def work(source: Path, _: Progress) -> None:
        image, of = open_lossy(source.read_bytes(), max_pixels=MAX_SIDE**2)
        improved = post_processor.improve([decode_as_coded(image)], [of])[0]
        paths.write(targets[source], encode(finished(improved, image), formats[targets[source]]))
        err.print(f"{targets[source]}  {improved.width}x{improved.height}  {of.kind}, coarseness {of.coarseness:.2f}")

    _all(targets, work, "Enhancing")


@app.command()
def info(
    sources: Streams,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line instead of tables.")] = False,
) -> None:
    """Tell what streams hold, without decoding them."""
    from ..facts import StreamFacts

    def work(source: Path, _: Progress) -> None:
        facts = StreamFacts.of(source.read_bytes()).model_dump()
        if as_json:
            out.print(json.dumps({"file": str(source)} | facts))
        else:
            rows = ([name.replace("_", " "), "–" if value is None else str(value)] for name, value in facts.items())
            print_table(*rows, title=str(source))

    _all(paths.files(sources, {".zgt"}), work, "Reading")


def _formats(targets: Iterable[Path], image_format: str | None) -> dict[Path, ImageFormat]:
    """What each target is to be written as. Raises typer.BadParameter."""
    from ..images import ImageFormat

    known = {known.name.lower(): known for known in ImageFormat} | {"jpg": ImageFormat.JPEG}
    endings = {target: (image_format or target.suffix.removeprefix(".")).lower() for target in targets}
    if unknown := set(endings.values()) - set(known):
        raise typer.BadParameter(f"{unknown.pop()!r} is none of {', '.join(known)}", param_hint="--format, --output")
    return {target: known[ending] for target, ending in endings.items()}


def _all(sources: Collection[Path], work: Callable[[Path, Progress], None], description: str) -> None:
    """`each`, and exit code 1 when one has failed."""
    if not each(sources, work, description):
        raise typer.Exit(1)
