"""Evaluation: rate and distortion of real streams against other codecs, BD-rates, tables and plots."""

from __future__ import annotations

from models.evaluation.report import Report
from models.evaluation.run import evaluate

__all__ = ["Report", "evaluate"]
