"""`ziggurat models list`, `show` and `verify`: the models that come with the package."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from .console import (
    AsJson,
    Device,
    ExitCode,
    Quiet,
    app,
    check_device,
    err,
    out,
    print_json,
    print_table,
)

if TYPE_CHECKING:
    from models.learned.codec import LearnedCodec

LEAST_PSNR = 20.0  # dB, of a smooth picture there and back; sound models are above 30

models = typer.Typer(
    name="models", help="List, show and verify the models that come with the package.", rich_markup_mode=None
)
app.add_typer(models, invoke_without_command=True)

Names = Annotated[list[str] | None, typer.Argument(help="Names or ids.", show_default="all")]


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A file of weights and its card.

    Attributes:
        name: of the codec's profile; of a post-processor, "post-" and its name.
        kind: what it is for.
        id: 8 hex digits, as its card says.
        weights: the file.
        card: as the JSON beside it has it.
    """

    name: str
    kind: Literal["codec", "post-processor"]
    id: str
    weights: Path
    card: dict[str, Any]

    @property
    def trained_for(self) -> str:
        """The loss of a codec; the files or streams that a post-processor improves."""
        if self.kind == "codec":
            return str(self.card["distortion"])
        kinds = [str(trained["kind"]) for trained in self.card["trained"]]
        files = {"avif", "jpeg", "webp"}
        return ", ".join(kind if kind in files else f"streams of {kind}" for kind in kinds)

    @property
    def reach(self) -> str:
        """The range of rates of a codec, on the images of its card."""
        if self.kind != "codec":
            return ""
        rates = [point["bpp"] for point in self.card["rate_distortion"]]
        return f"{min(rates):.2f} to {max(rates):.2f} bpp"

    def facts(self) -> dict[str, object]:
        """All of it for programs."""
        size = self.weights.stat().st_size
        return {"name": self.name, "kind": self.kind, "model_id": self.id, "bytes": size, "card": self.card}


def model_files() -> list[ModelFile]:
    """Find the files of all models, codecs first. Loads no torch.

    Raises:
        WeightsError: a card is missing or none.
    """
    from models.weights import registry

    folder = registry.WEIGHTS
    codecs = [_model_file(name, "codec", registry.weights(name)) for name in registry.available()]
    return codecs + [
        _model_file(f"post-{path.stem}", "post-processor", path)
        for path in sorted((folder / "postprocess").glob("*.safetensors"))
    ]


def _model_file(name: str, kind: Literal["codec", "post-processor"], weights: Path) -> ModelFile:
    from models.errors import WeightsError

    try:
        card = json.loads(weights.with_suffix(".json").read_text())
        return ModelFile(name, kind, str(card["model_id"]), weights, card)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise WeightsError(f"cannot read the card of {weights}: {error}") from error


@models.callback()
def models_alone(context: typer.Context) -> None:
    """List, show and verify the models that come with the package; alone, list them."""
    if context.invoked_subcommand is None:
        list_models()


@models.command("list")
def list_models(as_json: AsJson = False) -> None:
    """List names, ids, what each was trained for, rates and sizes; and the hybrid codec."""
    from PIL import features

    from models import hybrid

    found = model_files()
    if as_json:
        for model in found:
            print_json(model.facts())
        return
    rows = [
        [model.name, model.id, model.trained_for, model.reach, f"{model.weights.stat().st_size / 1e6:.1f} MB"]
        for model in found
    ]
    avif = [hybrid.NAME, hybrid.MODEL_ID, f"libavif {features.version('avif')}", "--codec hybrid", "no model"]
    print_table(*rows, avif)


@models.command()
def show(names: Names = None, as_json: AsJson = False) -> None:
    """Show the cards of models: how they were trained, and their figures."""
    for number, model in enumerate(_chosen(names)):
        if as_json:
            print_json(model.facts())
            continue
        if number:
            out.print()
        print_table(*_described(model), title=model.name)
        if rows := _figures(model):
            out.print()
            print_table(*rows)


def _described(model: ModelFile) -> Iterator[list[str]]:
    card = model.card
    yield ["model id", model.id]
    yield ["kind", model.kind]
    yield ["trained for", model.trained_for]
    yield ["file", f"{model.weights}, {model.weights.stat().st_size} bytes"]
    yield ["weights", f"{card['parameters']}"]
    yield ["steps", f"{card['steps']}"]
    yield ["commit", str(card["commit"])]
    for phase in card["history"]:
        yield ["", str(phase)]
    yield ["figures", f"means over {card['evaluated_on']}"]


def _figures(model: ModelFile) -> list[list[str]]:
    """The rate and distortion of the card, a row for each quality; first their names."""
    if model.kind == "codec":
        points = [
            [f"{p['quality']:g}", f"{p['bpp']:.4f}", f"{p['psnr']:.2f}", f"{p['ms_ssim']:.4f}"]
            for p in model.card["rate_distortion"]
        ]
        return [["quality", "bpp", "PSNR", "MS-SSIM"], *points]
    gains = [
        [
            gain["codec"],
            f"{gain['quality']:g}",
            f"{gain['bpp']:.4f}",
            f"{gain['psnr'][0]:.2f} to {gain['psnr'][1]:.2f}",
            f"{gain['ms_ssim'][0]:.4f} to {gain['ms_ssim'][1]:.4f}",
        ]
        for gain in model.card["gains"]
    ]
    return [["codec", "quality", "bpp", "PSNR", "MS-SSIM"], *gains]


@models.command()
def verify(
    names: Names = None, device: Device = "cpu", as_json: AsJson = False, quiet: Quiet = False
) -> None:
    """Recompute ids from the files, and try each model; exit code 1 when one is damaged."""
    from models.errors import CodecError

    check_device(device)
    failed = False
    for model in _chosen(names):
        facts = {"name": model.name, "model_id": model.id}
        try:
            checked = check(model, device)
        except (CodecError, OSError) as error:
            failed = True
            if as_json:
                print_json(facts | {"sound": False, "error": str(error)})
            err.print(f"{model.name}: {error}; install the package again")
        else:
            if as_json:
                print_json(facts | {"sound": True, "checked": checked})
            elif not quiet:
                out.print(f"{model.name:14}{model.id}  {', '.join(checked)}")
    if failed:
        raise typer.Exit(ExitCode.FAILED)


def check(model: ModelFile, device: str) -> list[str]:
    """Check a model's file, and that it works on a device; list what was found.

    An id covers what decoding depends on. The rest of the file is covered by the installer's
    record, where there is one, and by a picture there and back.

    Raises:
        WeightsError: it is damaged, or the device's arithmetic is not exact.
    """
    from models.errors import WeightsError
    from models.learned.codec import LearnedCodec
    from models.learned.model import CodecModel
    from models.postprocess.model import PostCard, PostModel
    from models.postprocess.postprocessor import PostProcessor
    from models.weights.card import ModelCard

    recorded = _recorded_digest(model.weights)
    if recorded not in {None, _digest(model.weights)}:
        raise WeightsError(f"{model.weights} is not as it was installed")
    card = model.weights.with_suffix(".json")
    found = ["the file is as it was installed"] if recorded else []
    if model.kind == "codec":
        codec = LearnedCodec(CodecModel.load(model.weights), ModelCard.load(card), device=device)
        _there_and_back(codec)
        return [
            *found,
            "the id is that of the weights",
            f"exact on {device}",
            "a picture went there and back",
        ]
    PostProcessor(PostModel.load(model.weights), PostCard.load(card), device=device)
    return [*found, "the id is that of the weights"]


def _there_and_back(codec: LearnedCodec) -> None:
    """Compress a picture, read its symbols, and decode it. Raises `WeightsError`."""
    import numpy as np

    from models import Picture, Target
    from models.bitstream import Bitstream
    from models.errors import WeightsError

    rows, columns = np.mgrid[0:96, 0:128]
    smooth = 127 + 100 * np.sin(np.stack([rows / 25, columns / 30, (rows + columns) / 40], axis=-1))
    picture = Picture.from_array(smooth.astype(np.uint8))
    try:
        (quantised,) = codec.quantise([picture], [Target(quality=60)])
    except (IndexError, RuntimeError, ValueError) as error:  # of infinite latents, say
        raise WeightsError(f"the encoder fails: {error}") from error
    stream = codec.symbol_codec.write(quantised)
    read = codec.symbol_codec.read(Bitstream.parse(stream.data))
    written = quantised.symbols
    if not (np.array_equal(read.z, written.z) and np.array_equal(read.residuals, written.residuals)):
        raise WeightsError("a stream has other symbols than were written")
    (decoded,) = codec.decode([stream.data])
    psnr = codec.score(decoded, picture, "psnr")
    if not psnr >= LEAST_PSNR:  # and not a number, which weights that are damaged may give
        raise WeightsError(f"a picture came back wrong, at {psnr:.1f} dB")


def _recorded_digest(weights: Path) -> str | None:
    """The SHA-256 that the installer has recorded of a file; None when it was not installed."""
    from importlib.metadata import PackageNotFoundError, distribution

    try:
        files = distribution("ziggurat").files or []
    except PackageNotFoundError:
        return None
    for file in files:
        if (
            file.name == weights.name
            and file.hash is not None
            and Path(str(file.locate())).resolve() == weights.resolve()
        ):
            return file.hash.value if file.hash.mode == "sha256" else None
    return None


def _digest(path: Path) -> str:
    """A file's SHA-256 as installers record it."""
    return urlsafe_b64encode(sha256(path.read_bytes()).digest()).rstrip(b"=").decode()


def _chosen(names: list[str] | None) -> list[ModelFile]:
    """The models of these names or ids, in that order; all of them for none.

    Raises:
        typer.BadParameter: there is no such model.
    """
    found = model_files()
    if not names:
        return found
    known = {model.id: model for model in found} | {model.name: model for model in found}
    if unknown := [name for name in names if name not in known]:
        there = ", ".join(model.name for model in found)
        raise typer.BadParameter(f"{unknown[0]}: the models are {there}", param_hint="NAMES")
    return [known[name] for name in names]
