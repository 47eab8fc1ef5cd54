"""Judges: the metrics that pictures are compared by beside PSNR and MS-SSIM.

`JPEG_AI` are the seven of JPEG AI's common test conditions, on what its reference software takes
them: the luma of BT.709 in ten bits, for FSIM RGB. `HELD_OUT` are those that no loss and
no constant of ours has seen. docs/results/looks.md says where each comes from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache, cached_property
from threading import Lock
from typing import Any, Literal, cast

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from models.evaluation import packages
from models.evaluation.ciede2000 import mean_ciede2000
from models.evaluation.nlpd import nlpd
from models.evaluation.psnr_hvs import psnr_hvs
from models.evaluation.vmaf import vmaf, vmaf_neg
from models.metrics import ms_ssim
from models.metrics.ssimulacra2 import ssimulacra2
from models.tensors import to_batch

Judge = Literal[
    "ms-ssim-y",
    "vifp",
    "fsimc",
    "nlpd",
    "iw-ssim",
    "vmaf",
    "psnr-hvs",
    "ssimulacra2",
    "vmaf-neg",
    "cvvdp",
    "ciede2000",
]

JPEG_AI: tuple[Judge, ...] = ("ms-ssim-y", "vifp", "fsimc", "nlpd", "iw-ssim", "vmaf", "psnr-hvs")
HELD_OUT: tuple[Judge, ...] = ("ssimulacra2", "vmaf-neg", "cvvdp", "ciede2000")
JUDGES = JPEG_AI + HELD_OUT
GROUPS: dict[str, tuple[Judge, ...]] = {"jpeg-ai": JPEG_AI, "held-out": HELD_OUT, "all": JUDGES, "none": ()}

# Modules, beyond those that every evaluation needs, of packages in the extra `evaluation`.
MODULES: dict[Judge, str] = {
    "vifp": "piq",
    "fsimc": "piq",
    "iw-ssim": "piq",
    "vmaf": "imageio_ffmpeg",
    "vmaf-neg": "imageio_ffmpeg",
    "cvvdp": "pycvvdp",
}

LUMA = (0.2126, 0.7152, 0.0722)  # BT.709, of R, G and B
LARGEST = 1023  # of ten bits
DISPLAY = "standard_fhd"  # CVVDP's: 24 inches and 1920 x 1080 pixels, seen from 0.6 m


class Pair:
    """A decoded picture and its original, in the forms that judges take.

    Args:
        decoded: (H, W, 3).
        original: the same size.
        device: computes the metrics, all but VMAF.
    """

    def __init__(self, decoded: NDArray[np.uint8], original: NDArray[np.uint8], device: str = "cpu") -> None:
        self.decoded = decoded
        self.original = original
        self.device = torch.device(device)

    @cached_property
    def rgb(self) -> tuple[Tensor, Tensor]:
        """Decoded and original (1, 3, H, W) in [0, 1]."""
        return to_batch([self.decoded], self.device), to_batch([self.original], self.device)

    @cached_property
    def luma(self) -> tuple[Tensor, Tensor]:
        """Luma of both (1, 1, H, W) in [0, 1], rounded to ten bits."""
        x_hat, x = self.rgb
        return _luma(x_hat), _luma(x)

    def luma_of_side(self, side: int) -> tuple[Tensor, Tensor]:
        """Luma of both, with zeros to the right and below up to `side` pixels, as in JPEG AI."""
        height, width = self.original.shape[:2]
        missing = (0, max(0, side - width), 0, max(0, side - height))
        y_hat, y = self.luma
        return F.pad(y_hat, missing), F.pad(y, missing)


def scores(pair: Pair, judges: Iterable[Judge]) -> dict[Judge, float]:
    """Take the scores of some judges.

    Raises:
        ImportError: a package of the extra `evaluation` is missing.
    """
    with torch.no_grad():
        return {judge: float(_SCORES[judge](pair)) for judge in judges}


def named(text: str) -> tuple[Judge, ...]:
    """Read names of judges and of `GROUPS`, separated by commas; in the order of `JUDGES`.

    Raises:
        ValueError: for an unknown name.
    """
    chosen: set[str] = set()
    for name in text.split(","):
        if name not in GROUPS and name not in JUDGES:
            known = ", ".join((*GROUPS, *JUDGES))
            raise ValueError(f"unknown judge {name!r}; known are {known}")
        chosen |= set(GROUPS.get(name, (cast("Judge", name),)))
    return tuple(judge for judge in JUDGES if judge in chosen)


def modules(judges: Iterable[Judge]) -> list[str]:
    """List the modules of packages that these judges need."""
    return list(dict.fromkeys(MODULES[judge] for judge in judges if judge in MODULES))


def _luma(rgb: Tensor) -> Tensor:
    weights = rgb.new_tensor(LUMA).view(1, 3, 1, 1)
    return (rgb * weights).sum(1, keepdim=True).mul_(LARGEST).round_().div_(LARGEST)


def _vmaf(pair: Pair) -> float:
    y_hat, y = (np.rint(luma[0, 0].cpu().numpy() * LARGEST).astype(np.uint16) for luma in pair.luma)
    return vmaf(y_hat, y)


_CVVDP_AT_A_TIME = Lock()  # it keeps the picture that it works on in itself


@cache
def _cvvdp_metric(device: torch.device) -> Any:  # a class without types
    return packages.load("pycvvdp").cvvdp(display_name=DISPLAY, device=device, quiet=True)


def _cvvdp(pair: Pair) -> float:
    with _CVVDP_AT_A_TIME:
        score, _ = _cvvdp_metric(pair.device).predict(pair.decoded, pair.original, dim_order="HWC")
    return float(score)


def _piq(name: str, *pictures: Tensor, **options: bool) -> Tensor:
    score: Tensor = getattr(packages.load("piq"), name)(*pictures, data_range=1.0, **options)
    return score


_SCORES: dict[Judge, Callable[[Pair], Tensor | float]] = {
    "ms-ssim-y": lambda pair: ms_ssim(*pair.luma),
    "vifp": lambda pair: _piq("vif_p", *pair.luma_of_side(64)),
    "fsimc": lambda pair: _piq("fsim", *pair.rgb, chromatic=True),
    "nlpd": lambda pair: nlpd(*pair.luma_of_side(128)),
    "iw-ssim": lambda pair: _piq("information_weighted_ssim", *pair.luma_of_side(256)),
    "vmaf": _vmaf,
    "psnr-hvs": lambda pair: psnr_hvs(*pair.luma),
    "ssimulacra2": lambda pair: ssimulacra2(*pair.rgb),
    "vmaf-neg": lambda pair: vmaf_neg(pair.decoded, pair.original),
    "cvvdp": _cvvdp,
    "ciede2000": lambda pair: mean_ciede2000(*pair.rgb),
}
