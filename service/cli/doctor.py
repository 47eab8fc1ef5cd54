"""`ziggurat doctor`: whether everything here is as the codec and the service need it."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .. import machine
from .console import ExitCode, Quiet, app, check_device, err, out, print_json
from .model_files import check, model_files
from .server import settings_from

if TYPE_CHECKING:
    from ..settings import Settings

IDLE_BYTES = 440e6  # of the service with all three models; docs/operating/sizing.md
BYTES_PER_PIXEL = 1.5e9 / 40e6  # beside them, of the largest picture
FEWEST_FILES = 256  # that the service may hold open; of fewer, connections are refused early
LEAST_FREE_BYTES = 100e6  # of the store's disk
INSTALL_AGAIN = "install the package again"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        name: of the thing.
        found: what it is like.
        sound: it is as it should be.
        advice: what to do; of a sound thing, what would be better still.
    """

    name: str
    found: str
    sound: bool = True
    advice: str = ""

    @property
    def state(self) -> str:
        """In one word."""
        if not self.sound:
            return "FAILED"
        return "advice" if self.advice else "ok"


class UnsoundError(Exception):
    """A thing is not as it should be. Takes what was found and what to do."""


@app.command()
def doctor(
    device: Annotated[
        str | None,
        typer.Option(
            help="Where the networks run: cpu, cuda or cuda:N.", show_default="from ZIGGURAT_DEVICE, or cpu"
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as one JSON object.")] = False,
    quiet: Quiet = False,
) -> None:
    """Look whether all is well: versions, device, arithmetic, models, limits and store.

    Exit code 1 when it is not; each failing line says what to do.
    """
    findings = []
    for finding in _examine(device):
        findings.append(finding)
        if not as_json:
            _tell(finding, quiet=quiet)
    sound = all(finding.sound for finding in findings)
    if as_json:
        rows = [asdict(finding) | {"state": finding.state.lower()} for finding in findings]
        print_json({"sound": sound, "versions": machine.versions(), "findings": rows})
    if not sound:
        raise typer.Exit(ExitCode.FAILED)


def _tell(finding: Finding, *, quiet: bool) -> None:
    line = f"{finding.state:8}{finding.name:14}{finding.found}"
    if not finding.sound:
        err.print(f"{line}: {finding.advice}")
    elif not quiet:
        out.print(line + (f": {finding.advice}" if finding.advice else ""))


def _examine(device: str | None) -> Iterator[Finding]:
    """Look at one thing after the other; what the others need comes first."""
    yield _finding("packages", _packages)
    settings: list[Settings] = []
    yield _finding("settings", lambda: _settings(settings))
    place = device or (settings[0].device if settings else "cpu")
    on_device = _finding("device", lambda: _device(place))
    yield on_device
    if on_device.sound:
        yield _finding("integers", lambda: _integers(place))
        yield _finding("bfloat16", lambda: _bfloat16(place))
        yield from _models(place)
    yield _finding("hybrid codec", _hybrid)
    yield _finding("threads", _threads)
    if settings:
        yield _finding("memory", lambda: _memory(settings[0]))
        yield _finding("open files", lambda: _open_files(settings[0]))
        yield _finding("store", lambda: _store(settings[0]))


def _finding(name: str, look: Callable[[], str | tuple[str, str]]) -> Finding:
    """Look at a thing, which returns what it found, and may return advice or raise."""
    try:
        found = look()
    except UnsoundError as error:
        return Finding(name, str(error.args[0]), sound=False, advice=str(error.args[1]))
    except ImportError as error:
        return Finding(name, f"cannot be loaded: {error}", sound=False, advice=INSTALL_AGAIN)
    return Finding(name, found) if isinstance(found, str) else Finding(name, found[0], advice=found[1])


def _packages() -> str:
    versions = machine.versions()
    if unmet := machine.unmet_requirements():
        there = ", ".join(f"{name} {versions.get(name) or 'missing'}" for name in versions)
        wanted = " ".join(f"'{requirement}'" for requirement in unmet)
        raise UnsoundError(there, f"pip install {wanted}")
    return ", ".join(f"{name} {version or 'missing'}" for name, version in versions.items())


def _settings(found: list[Settings]) -> str:
    try:
        found.append(settings_from([]))
    except typer.BadParameter as error:
        told = f"{error.param_hint}: {error.message}" if error.param_hint else error.message
        raise UnsoundError(told, "change or unset the variable; docs/settings.md lists them") from None
    given = sorted(name for name in os.environ if name.startswith("ZIGGURAT_"))
    return ", ".join(given) if given else "none is set"


def _device(name: str) -> str | tuple[str, str]:
    import torch

    try:
        check_device(name)
    except typer.BadParameter as error:
        there = [f"cuda:{number}" for number in range(torch.cuda.device_count())]
        raise UnsoundError(error.message, f"choose one of {', '.join(['cpu', *there])}") from None
    if torch.device(name).type == "cuda":
        properties = torch.cuda.get_device_properties(name)
        return f"{name}: {properties.name}, {machine.in_gigabytes(properties.total_memory)}"
    capabilities = torch.cpu.get_capabilities()
    told = f"{name}: {capabilities.get('cpu_name') or 'CPU'}, {torch.backends.cpu.get_cpu_capability()}"
    if torch.cuda.is_available():
        return told, "there is a GPU: --device cuda, or ZIGGURAT_DEVICE=cuda"
    return told


def _integers(device: str) -> str:
    import torch

    from models.entropy.layer_torch import int8_is_exact, kind_on

    if kind_on(torch.device(device)) is torch.int8:
        return "products of int8 are exact, and used"
    if torch.device(device).type == "cpu" and not int8_is_exact():
        return "products of int8 are not exact on this CPU: float32, which takes longer; the same streams"
    return "in float32, exact"


def _bfloat16(device: str) -> str:
    import torch

    from models.network.precision import has_fast_bfloat16

    if has_fast_bfloat16(torch.device(device)):
        return "in hardware, and used"
    return "not in hardware: float32, which takes longer"


def _models(device: str) -> Iterator[Finding]:
    """Verify every model; the exact scale decoder and the context networks check themselves."""
    from models.errors import CodecError

    try:
        found = model_files()
    except CodecError as error:
        yield Finding("models", str(error), sound=False, advice=INSTALL_AGAIN)
        return
    if not any(model.kind == "codec" for model in found):
        yield Finding("models", "there are none", sound=False, advice=INSTALL_AGAIN)
    for model in found:
        try:
            told = f"{model.id}: {', '.join(check(model, device))}"
        except (CodecError, OSError) as error:
            yield Finding(model.name, str(error), sound=False, advice=f"{INSTALL_AGAIN}, or --device cpu")
        else:
            yield Finding(model.name, told)


def _hybrid() -> str:
    import numpy as np
    from PIL import features

    from models import Picture, Target
    from models.errors import CodecError
    from models.hybrid.codec import HybridCodec

    codec = HybridCodec()
    grey = Picture.from_array(np.full((64, 64, 3), 128, np.uint8))
    try:
        codec.decode(codec.encode(grey, Target(quality=50), metric="psnr").data)
    except CodecError as error:
        raise UnsoundError(str(error), "pip install --upgrade pillow, whose wheels have libavif") from None
    return f"libavif {features.version('avif')} writes and reads"


def _threads() -> str | tuple[str, str]:
    import torch

    threads, cores = torch.get_num_threads(), machine.cores()
    told = f"{threads} of {cores:g} cores"
    if threads > cores + 0.5:
        fewer = max(1, int(cores))
        return told, f"more than the cores there are: OMP_NUM_THREADS={fewer}, ZIGGURAT_THREADS={fewer}"
    return told


def _memory(settings: Settings) -> str | tuple[str, str]:
    limit = machine.memory()
    if limit is None:
        return "not known"
    needed = IDLE_BYTES + BYTES_PER_PIXEL * settings.max_pixels
    told = f"{machine.in_gigabytes(limit)}; a picture of {settings.max_pixels} pixels needs about"
    told = f"{told} {machine.in_gigabytes(needed)}"
    if needed > limit:
        fitting = max(1, int((limit - IDLE_BYTES) / BYTES_PER_PIXEL))
        return told, f"give it more, or lower ZIGGURAT_MAX_PIXELS to {fitting}"
    return told


def _open_files(settings: Settings) -> str | tuple[str, str]:
    with suppress(ImportError):  # Windows
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        told = "no limit" if soft == resource.RLIM_INFINITY else f"{soft}"
        wanted = max(FEWEST_FILES, settings.max_connections or 0)
        if soft != resource.RLIM_INFINITY and soft < wanted:
            raised = f"ulimit -n {wanted}" + ("" if hard >= wanted or hard < 0 else " as root")
            return told, f"few for a service: {raised}"
        return told
    return "not known"


def _store(settings: Settings) -> str | tuple[str, str]:
    """Put a stream into the store, get it and delete it; make no directory that is not there."""
    import asyncio

    from obstore.exceptions import BaseError

    from ..store import StoreError, StreamStore

    location = settings.store
    is_directory = "://" not in location
    if is_directory and not Path(location).exists():
        there = next(parent for parent in Path(location).absolute().parents if parent.exists())
        if not (there.is_dir() and os.access(there, os.W_OK | os.X_OK)):
            raise UnsoundError(f"{location} cannot be made in {there}", "ZIGGURAT_STORE names another place")
        return f"{location} will be made in {there}, {_room(there)}"

    async def there_and_back() -> None:
        store = StreamStore(location, timeout_seconds=settings.store_timeout_seconds)
        probe = b"ziggurat doctor " + secrets.token_bytes(16)
        stream_id = await store.put(probe)
        await store.get(stream_id)
        await store.delete(stream_id)

    try:
        asyncio.run(there_and_back())
    except (StoreError, OSError, BaseError, ValueError) as error:
        cause = " ".join(str(error.__cause__ or error).split())
        what = "make it writable" if is_directory else "check its name, credentials and network"
        raise UnsoundError(f"{location}: {cause}", f"{what}, or ZIGGURAT_STORE names another") from None
    if location.startswith("memory:"):
        return f"{location} works", "streams are gone when the service ends"
    if not is_directory:
        return f"{location} works"
    if shutil.disk_usage(location).free < LEAST_FREE_BYTES:
        raise UnsoundError(f"{location}: {_room(Path(location))}", "make room on the disk")
    return f"{location} works, {_room(Path(location))}"


def _room(folder: Path) -> str:
    return f"{machine.in_gigabytes(shutil.disk_usage(folder).free)} free"
