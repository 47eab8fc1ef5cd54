"""Metrics of a decoded picture against its original.

PSNR and MS-SSIM, which the codec trains on; SSIMULACRA2, in a module of its own, which asks of a
picture what people would say.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from models.metrics.distortion import decibels, ms_ssim, psnr
    from models.metrics.scoring import score

__all__ = ["decibels", "ms_ssim", "psnr", "score"]

_HOMES = {"decibels": "distortion", "ms_ssim": "distortion", "psnr": "distortion", "score": "scoring"}


def __getattr__(name: str) -> Any:
    """Look up a name in its module when it is asked for."""
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
