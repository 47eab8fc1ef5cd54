"""Evaluation: rate and distortion of real streams against other codecs, BD-rates, tables, plots."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from models.evaluation.report import Report
    from models.evaluation.run import EvaluationOptions, evaluate

__all__ = ["EvaluationOptions", "Report", "evaluate"]

_HOMES = {
    "EvaluationOptions": "models.evaluation.run",
    "Report": "models.evaluation.report",
    "evaluate": "models.evaluation.run",
}


def __getattr__(name: str) -> Any:
    """Import a name when it is asked for: they need the extra `evaluation`, and some of the metrics
    beside them, which `ziggurat compare` takes, do not.
    """
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
