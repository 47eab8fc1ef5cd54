"""`ziggurat compare`: how far pictures are from an original, in numbers and on a map."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from . import paths
from .console import AsJson, Device, Force, Manner, Quiet, app, check_device, print_table
from .files import Decoder
from .progress import Result, finish, label, work_through

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from models import Picture
    from models.progress import Progress

SMALLEST_SIDE = 8  # of what SSIMULACRA2 can judge, in pixels
STRIP_PIXELS = 1 << 20  # whose colours are compared at a time

Original = Annotated[
    Path, typer.Argument(parser=paths.source, metavar="ORIGINAL", help="Image or stream; - is stdin.")
]
Others = Annotated[
    list[Path],
    typer.Argument(parser=paths.source, metavar="OTHERS...", help="Images or streams to compare with it."),
]


@dataclass(frozen=True, slots=True)
class Loaded:
    """A picture and the size of its file."""

    picture: Picture
    bytes: int

    @property
    def bpp(self) -> float:
        """Bits of the file per pixel."""
        return 8 * self.bytes / self.picture.pixels


@app.command()
def compare(
    original: Original,
    others: Others,
    map_file: Annotated[
        Path | None,
        typer.Option(
            "--heat-map",
            help="Write a PNG that shows where the two pictures differ, by CIEDE2000.",
            show_default=False,
        ),
    ] = None,
    force: Force = False,
    device: Device = "cpu",
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Compare pictures with an original: PSNR, MS-SSIM, SSIMULACRA2, CIEDE2000, bytes and bpp.

    Images and streams alike. An original that cannot be read ends it.
    """
    if folder := next((file for file in (original, *others) if file.is_dir()), None):
        raise typer.BadParameter(f"{folder} is a folder; files are compared")
    if paths.STDIN in others and (original == paths.STDIN or others.count(paths.STDIN) > 1):
        raise typer.BadParameter("stdin can be read once")
    manner = Manner(force=force, as_json=as_json)
    paths.find([original], set())  # says so when it is not there
    found = paths.find(others, set())
    if map_file is not None:
        _check_map(map_file, [original, *found.files], force=force)
    check_device(device)
    decoder = Decoder(device)
    first = _load(original, decoder)
    rows = [
        ["", "bytes", "bpp", "PSNR", "MS-SSIM", "SSIMULACRA2", "CIEDE2000"],
        [str(original), str(first.bytes), f"{first.bpp:.4f}", "", "", "", ""],
    ]

    def work(source: Path, _: Progress) -> Result:
        other = _load(source, decoder)
        compared = scores(first.picture, other.picture, device)
        if map_file is not None:
            paths.write(map_file, _map(first.picture, other.picture, device))
        rows.append([str(source), str(other.bytes), f"{other.bpp:.4f}", *_texts(compared)])
        facts: dict[str, object] = {
            "original": label(original),
            "width": other.picture.width,
            "height": other.picture.height,
            "original_bytes": first.bytes,
            "bytes": other.bytes,
            "original_bpp": round(first.bpp, 6),
            "bpp": round(other.bpp, 6),
        }
        return Result(facts=facts | compared)

    tally = work_through(found.files, work, "Comparing", manner)
    if len(rows) > 2 and not as_json:
        print_table(*rows)
    finish(tally, paths.Found(found.files), manner)


def scores(original: Picture, other: Picture, device: str) -> dict[str, float | None]:
    """Compare two pictures of one size by every metric that needs nothing else installed.

    Raises:
        PictureError: their sizes differ.
    """
    import numpy as np
    import torch

    from models.errors import PictureError
    from models.evaluation.ssimulacra2 import ssimulacra2
    from models.metrics import score
    from models.tensors import to_batch

    if (original.width, original.height) != (other.width, other.height):
        raise PictureError(
            f"{other.width}x{other.height} pixels, and the original has {original.width}x{original.height}"
        )
    place = torch.device(device)
    by_ssimulacra2 = None
    if np.array_equal(original.rgb, other.rgb):
        by_ssimulacra2 = 100.0  # by definition; sums in another order would give 99.97
    elif min(original.width, original.height) >= SMALLEST_SIDE:
        with torch.inference_mode():
            batches = (to_batch([picture.rgb], place) for picture in (other, original))
            by_ssimulacra2 = round(float(ssimulacra2(*batches)), 3)
    found: dict[str, float | None] = {
        "psnr": round(score(other.rgb, original.rgb, "psnr", place), 4),
        "ms_ssim": round(score(other.rgb, original.rgb, "ms-ssim", place), 6),
        "ssimulacra2": by_ssimulacra2,
        "ciede2000": round(float(differences(original, other, device).mean()), 4),
    }
    if original.alpha is not None or other.alpha is not None:
        found["alpha_psnr"] = round(score(_alpha(other), _alpha(original), "psnr", place), 4)
    return found


def differences(original: Picture, other: Picture, device: str) -> NDArray[np.float32]:
    """Compute CIEDE2000 of each pixel (H, W)."""
    import numpy as np
    import torch

    from models.evaluation.ciede2000 import ciede2000, lab
    from models.tensors import to_batch

    found = np.empty((original.height, original.width), np.float32)
    rows = max(1, STRIP_PIXELS // original.width)
    with torch.inference_mode():
        for top in range(0, original.height, rows):
            a, b = (
                lab(to_batch([picture.rgb[top : top + rows]], torch.device(device)))
                for picture in (other, original)
            )
            found[top : top + rows] = ciede2000(a, b)[0].cpu().numpy()
    return found


def _alpha(picture: Picture) -> NDArray[np.uint8]:
    """The alpha plane in three planes (H, W, 3)."""
    import numpy as np

    if picture.alpha is None:
        return np.full_like(picture.rgb, 255)
    return np.repeat(picture.alpha[..., None], 3, axis=2)


def _map(original: Picture, other: Picture, device: str) -> bytes:
    from .heat_map import heat_map

    found = differences(original, other, device)
    return heat_map(found, f"CIEDE2000: mean {found.mean():.2f}, largest {found.max():.1f}")


def _load(source: Path, decoder: Decoder) -> Loaded:
    """Read an image or a stream. Raises what reading and decoding raise."""
    from .pictures import picture_of

    file = paths.read(source)
    is_stream = file.startswith(paths.STREAM_BEGINS)
    return Loaded(decoder.decode(file) if is_stream else picture_of(file), len(file))


def _texts(compared: dict[str, float | None]) -> list[str]:
    digits = {"psnr": 2, "ms_ssim": 4, "ssimulacra2": 2, "ciede2000": 2}
    return ["–" if compared[name] is None else f"{compared[name]:.{digits[name]}f}" for name in digits]


def _check_map(map_file: Path, sources: list[Path], *, force: bool) -> None:
    """Raise typer.BadParameter when a map cannot be written there, or is one of several."""
    if len(sources) > 2:
        raise typer.BadParameter("a map is of two pictures", param_hint="--heat-map")
    if map_file.suffix.lower() != ".png":
        raise typer.BadParameter(f"{map_file}: the map is a PNG", param_hint="--heat-map")
    paths.check_extra(map_file, sources, option="--heat-map", force=force)
