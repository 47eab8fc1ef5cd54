"""What the engine refuses, and why.

EngineError
├── OverloadedError           too many pixels waiting
├── UnavailableError          shutting down, or the device thread died
└── DeadlineExceededError     waited longer than a request may take
UnknownProfileError           no loaded model has this name
TargetMissedError             the smallest stream is over a budget that was meant strictly
"""

from __future__ import annotations


class EngineError(Exception):
    """The engine cannot take or finish a job now. Its text is fit for users."""

    def __init__(self, detail: str, *, retry_after: float) -> None:
        super().__init__(detail)
        self.retry_after = retry_after  # seconds


class OverloadedError(EngineError):
    """Accepting the job would exceed the pixels that may wait."""


class UnavailableError(EngineError):
    """The engine is shutting down, or its device thread is gone."""


class DeadlineExceededError(EngineError):
    """The job was not finished within its time."""


class UnknownProfileError(Exception):
    """No loaded model has the name that was asked for."""


class TargetMissedError(Exception):
    """The smallest stream there is goes over the budget, and the caller wants nothing else."""
