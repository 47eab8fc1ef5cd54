"""Rate control: one picture to a budget, many to one budget. It works on numbers, without torch."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from models.rate_control.allocation import (
        MEMBER_TOLERANCE,
        SET_TOLERANCE,
        Allocation,
        Measured,
        RateDistortion,
        SetScores,
        allocate,
        next_budget,
    )
    from models.rate_control.gain_search import GainSearch
    from models.rate_control.position import COARSEST, FINEST, Position
    from models.rate_control.price import Pieces, Price, SlopeHistogram
    from models.rate_control.quality_search import QualitySearch
    from models.rate_control.target import TOLERANCE, Metric, Score, Target, meets

__all__ = [
    "COARSEST",
    "FINEST",
    "MEMBER_TOLERANCE",
    "SET_TOLERANCE",
    "TOLERANCE",
    "Allocation",
    "GainSearch",
    "Measured",
    "Metric",
    "Pieces",
    "Position",
    "Price",
    "QualitySearch",
    "RateDistortion",
    "Score",
    "SetScores",
    "SlopeHistogram",
    "Target",
    "allocate",
    "meets",
    "next_budget",
]

# In this order: the last four bring numpy, which reading a stream's header does without.
_HOMES = ("position", "target", "gain_search", "quality_search", "allocation", "price")


def __getattr__(name: str) -> Any:
    """Look up a name in its module when it is asked for."""
    if name in __all__:
        for home in _HOMES:
            module = import_module(f"{__name__}.{home}")
            if hasattr(module, name):
                return getattr(module, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
