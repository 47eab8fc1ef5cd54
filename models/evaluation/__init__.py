"""Evaluation: rate and distortion of real streams against other codecs, BD-rates, tables, plots."""

from __future__ import annotations

from models.evaluation.report import Report
from models.evaluation.run import EvaluationOptions, evaluate

__all__ = ["EvaluationOptions", "Report", "evaluate"]
