"""`ziggurat decompress`, `enhance` and `info`: streams and images, file by file."""

from __future__ import annotations

from enum import Enum
from functools import cache
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Annotated

import typer

from . import paths
from .console import (
    AsJson,
    Device,
    DryRun,
    Force,
    Format,
    Jobs,
    Manner,
    NoOverwrite,
    Output,
    Quiet,
    Sources,
    Streams,
    Verbose,
    app,
    check_device,
    load_codec,
    load_post_processor,
    print_table,
)
from .progress import Outcome, Result, finish, kept, label, left_out, work_through
from .records import Records, recipe

if TYPE_CHECKING:
    from models import Picture
    from models.bitstream import Bitstream
    from models.postprocess.postprocessor import Postprocess
    from models.progress import Progress


class PostprocessMode(Enum):
    """When to post-process: the values of `Postprocess` in `models.postprocess.postprocessor`."""

    AUTO = "auto"
    ON = "on"
    OFF = "off"


@app.command()
def decompress(
    sources: Streams,
    output: Output = None,
    image_format: Format = None,
    postprocess: Annotated[
        PostprocessMode,
        typer.Option(
            help="Take out what compressing left: auto, as the stream recommends; on, in any case; or off."
        ),
    ] = PostprocessMode.AUTO,
    device: Device = "cpu",
    force: Force = False,
    no_overwrite: NoOverwrite = False,
    dry_run: DryRun = False,
    jobs: Jobs = 1,
    as_json: AsJson = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Decompress streams to images. Each stream says which model it needs."""
    from models.bitstream.metadata import unpack

    from ..images import encode
    from .pictures import formats

    manner = Manner(force, no_overwrite, dry_run, jobs, as_json, verbose)
    found = paths.find(sources, {".zgt"})
    records = Records(keep=found.is_folder)
    targets = paths.targets(
        found,
        output,
        becomes=f".{image_format or 'png'}",
        force=force,
        kept=no_overwrite,
        replaceable=records.is_ours,
    )
    formats_of = formats(targets.values(), image_format)
    paths.check_stdout(targets.values(), as_json=as_json)
    check_device(device)
    decoder = Decoder(device, postprocess)

    def work(source: Path, _: Progress) -> Result:
        target = targets[source]
        if manner.keeps(target):
            return kept(target)
        stream = paths.read(source)
        asked = recipe(stream, "decompress", formats_of[target], postprocess)
        header = decoder.header(stream)
        facts: dict[str, object] = {"output": label(target), "format": formats_of[target].name.lower()}
        facts |= {"width": header.width, "height": header.height}
        size = f"{header.width}x{header.height}"
        if not force and records.is_finished(target, asked):
            return Result(Outcome.DONE_BEFORE, facts=facts)
        if dry_run:
            return Result(Outcome.PLANNED, f"{source} -> {target}  {size}", facts)
        metadata = None if header.metadata is None else unpack(header.metadata)
        file = encode(decoder.decode(stream), formats_of[target], metadata)
        records.add(target, asked, file)
        paths.write(target, file)
        return Result(Outcome.DONE, f"{target}  {size}", facts | {"bytes": len(file)})

    tally = work_through(targets, work, "Decompressing", manner, goes_on=found.is_folder)
    finish(tally, found, manner)


class Decoder:
    """Decodes streams of every model, and loads each model when the first stream needs it.

    Several threads may share one.
    """

    def __init__(self, device: str, postprocess: PostprocessMode = PostprocessMode.AUTO) -> None:
        from models.hybrid.codec import HybridCodec

        self._postprocess: Postprocess = postprocess.value
        self._learned = cache(lambda profile: load_codec(profile, device).learned)
        self._hybrid = cache(lambda: HybridCodec.load(device=device))
        self._loading = Lock()

    def header(self, data: bytes) -> Bitstream:
        """Read a stream's header. Raises `BitstreamError`, for an unknown model too."""
        from models.bitstream import Bitstream, CodecKind
        from models.weights import registry

        stream = Bitstream.parse(data)
        if stream.codec is CodecKind.LEARNED:
            registry.name_of(stream.model_id.hex())
        return stream

    def decode(self, data: bytes) -> Picture:
        """Decode a stream. Raises `BitstreamError`s, and `SourceError` of post-processing."""
        from models.bitstream import CodecKind
        from models.weights import registry

        stream = self.header(data)
        with self._loading:
            if stream.codec is CodecKind.HYBRID:
                hybrid = self._hybrid()
            else:
                learned = self._learned(registry.name_of(stream.model_id.hex()))
        if stream.codec is CodecKind.HYBRID:
            return hybrid.reconstruct(stream, postprocess=self._postprocess)
        return learned.decode([data], postprocess=self._postprocess)[0]


@app.command()
def enhance(
    sources: Sources,
    output: Output = None,
    image_format: Format = None,
    device: Device = "cpu",
    force: Force = False,
    no_overwrite: NoOverwrite = False,
    dry_run: DryRun = False,
    jobs: Jobs = 1,
    as_json: AsJson = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Take the artefacts out of JPEG, WebP and AVIF files."""
    from ..images import decode_as_coded, encode, finished, read_lossy_header
    from .pictures import MAX_PIXELS, formats

    manner = Manner(force, no_overwrite, dry_run, jobs, as_json, verbose)
    records = Records()
    # What an earlier run has enhanced is no source: WebP beside JPEG would be enhanced once more.
    found = paths.find(sources, {".jpg", ".jpeg", ".webp", ".avif"}, made=records.is_ours)
    records = records if found.is_folder else Records(keep=False)
    targets = paths.targets(
        found,
        output,
        becomes=f".{image_format or 'png'}",
        force=force,
        kept=no_overwrite,
        replaceable=records.is_ours,
    )
    formats_of = formats(targets.values(), image_format)
    paths.check_stdout(targets.values(), as_json=as_json)
    post_processor = load_post_processor(device)

    def work(source: Path, _: Progress) -> Result:
        target = targets[source]
        if manner.keeps(target):
            return kept(target)
        file = paths.read(source)
        header, coded = read_lossy_header(file, max_pixels=MAX_PIXELS)
        post_processor.check(coded)
        asked = recipe(file, "enhance", formats_of[target])
        facts: dict[str, object] = {"output": label(target), "format": formats_of[target].name.lower()}
        facts |= {"width": header.width, "height": header.height}
        facts |= {"source_format": coded.kind, "coarseness": round(coded.coarseness, 4)}
        facts |= {"dropped": list(header.carries)}
        told = f"{header.width}x{header.height}  {coded.kind}, coarseness {coded.coarseness:.2f}"
        if not force and records.is_finished(target, asked):
            return Result(Outcome.DONE_BEFORE, facts=facts)
        if dry_run:
            return Result(Outcome.PLANNED, f"{source} -> {target}  {told}", facts)
        improved = post_processor.improve([decode_as_coded(file, max_pixels=MAX_PIXELS)], [coded])[0]
        enhanced = encode(finished(improved, file, max_pixels=MAX_PIXELS), formats_of[target])
        records.add(target, asked, enhanced)
        paths.write(target, enhanced)
        remarks = left_out(header.carries)
        return Result(Outcome.DONE, f"{target}  {told}", facts | {"bytes": len(enhanced)}, remarks)

    tally = work_through(targets, work, "Enhancing", manner, goes_on=found.is_folder)
    finish(tally, found, manner)


@app.command()
def info(sources: Streams, as_json: AsJson = False, quiet: Quiet = False, verbose: Verbose = False) -> None:
    """Tell what streams hold, without decoding them."""
    from ..facts import StreamFacts

    manner = Manner(as_json=as_json, verbose=verbose)

    def work(source: Path, _: Progress) -> Result:
        facts = StreamFacts.of(paths.read(source)).model_dump()
        if not as_json:
            rows = (
                [name.replace("_", " "), "–" if value is None else str(value)]
                for name, value in facts.items()
            )
            print_table(*rows, title=str(source))
        return Result(facts=facts)

    found = paths.find(sources, {".zgt"})
    finish(work_through(found.files, work, "Reading", manner), found, manner)
