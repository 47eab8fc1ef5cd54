"""Rate control: one picture to a budget, many to one budget. It works on numbers, without torch."""

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
from models.rate_control.target import TOLERANCE, Metric, Target, meets

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
    "Position",
    "RateDistortion",
    "SetScores",
    "Target",
    "allocate",
    "meets",
    "next_budget",
]
