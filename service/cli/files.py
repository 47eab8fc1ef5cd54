"""`ziggurat decompress`, `enhance` and `info`: streams and images, file by file."""

from __future__ import annotations

import json
from enum import Enum
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from . import paths
from .console import (
    Device,
    Force,
    Format,
    Output,
    Sources,
    Streams,
    Verbose,
    app,
    check_device,
    err,
    load_codec,
    load_post_processor,
    out,
    print_table,
)
from .progress import Outcome, finish, work_through
from .records import Records, recipe

if TYPE_CHECKING:
    from models import Picture
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
    verbose: Verbose = False,
) -> None:
    """Decompress streams to images. Each stream says which model it needs."""
    from ..images import encode
    from .pictures import formats

    found = paths.find(sources, {".zgt"})
    records = Records(keep=found.is_folder)
    targets = paths.targets(
        found,
        output,
        becomes=f".{image_format or 'png'}",
        force=force,
        replaceable=records.is_ours,
    )
    formats_of = formats(targets.values(), image_format)
    check_device(device)
    decoder = _Decoder(device, postprocess)

    def work(source: Path, _: Progress) -> Outcome:
        target = targets[source]
        stream = source.read_bytes()
        asked = recipe(stream, "decompress", formats_of[target], postprocess)
        if not force and records.is_finished(target, asked):
            return Outcome.DONE_BEFORE
        picture = decoder.decode(stream)
        file = encode(picture, formats_of[target])
        records.add(target, asked, file)
        paths.write(target, file)
        err.print(f"{target}  {picture.width}x{picture.height}")
        return Outcome.DONE

    finish(work_through(targets, work, "Decompressing", goes_on=found.is_folder), found, verbose=verbose)


class _Decoder:
    """Decodes streams of every model, and loads each model when the first stream needs it."""

    def __init__(self, device: str, postprocess: PostprocessMode) -> None:
        from models.hybrid.codec import HybridCodec

        self._postprocess: Postprocess = postprocess.value
        self._learned = cache(lambda profile: load_codec(profile, device).learned)
        self._hybrid = cache(lambda: HybridCodec.load(device=device))

    def decode(self, data: bytes) -> Picture:
        from models.bitstream import Bitstream, CodecKind
        from models.weights import registry

        stream = Bitstream.parse(data)
        if stream.codec is CodecKind.HYBRID:
            return self._hybrid().reconstruct(stream, postprocess=self._postprocess)
        codec = self._learned(registry.name_of(stream.model_id.hex()))
        return codec.decode([data], postprocess=self._postprocess)[0]


@app.command()
def enhance(
    sources: Sources,
    output: Output = None,
    image_format: Format = None,
    device: Device = "cpu",
    force: Force = False,
    verbose: Verbose = False,
) -> None:
    """Take the artefacts out of JPEG, WebP and AVIF files."""
    from ..images import decode_as_coded, encode, finished, read_lossy_header
    from .pictures import MAX_PIXELS, formats

    records = Records()
    # What an earlier run has enhanced is no source: WebP beside JPEG would be enhanced once more.
    found = paths.find(sources, {".jpg", ".jpeg", ".webp", ".avif"}, made=records.is_ours)
    records = records if found.is_folder else Records(keep=False)
    targets = paths.targets(
        found,
        output,
        becomes=f".{image_format or 'png'}",
        force=force,
        replaceable=records.is_ours,
    )
    formats_of = formats(targets.values(), image_format)
    post_processor = load_post_processor(device)

    def work(source: Path, _: Progress) -> Outcome:
        target = targets[source]
        file = source.read_bytes()
        asked = recipe(file, "enhance", formats_of[target])
        if not force and records.is_finished(target, asked):
            return Outcome.DONE_BEFORE
        coded = read_lossy_header(file, max_pixels=MAX_PIXELS)[1]
        improved = post_processor.improve([decode_as_coded(file, max_pixels=MAX_PIXELS)], [coded])[0]
        enhanced = encode(finished(improved, file, max_pixels=MAX_PIXELS), formats_of[target])
        records.add(target, asked, enhanced)
        paths.write(target, enhanced)
        size = f"{improved.width}x{improved.height}"
        err.print(f"{target}  {size}  {coded.kind}, coarseness {coded.coarseness:.2f}")
        return Outcome.DONE

    finish(work_through(targets, work, "Enhancing", goes_on=found.is_folder), found, verbose=verbose)


@app.command()
def info(
    sources: Streams,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object a line instead of tables.")
    ] = False,
    verbose: Verbose = False,
) -> None:
    """Tell what streams hold, without decoding them."""
    from ..facts import StreamFacts

    def work(source: Path, _: Progress) -> None:
        facts = StreamFacts.of(source.read_bytes()).model_dump()
        if as_json:
            out.print(json.dumps({"file": str(source)} | facts))
        else:
            rows = (
                [name.replace("_", " "), "–" if value is None else str(value)]
                for name, value in facts.items()
            )
            print_table(*rows, title=str(source))

    found = paths.find(sources, {".zgt"})
    finish(work_through(found.files, work, "Reading"), found, verbose=verbose)
