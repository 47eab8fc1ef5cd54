"""Errors of the engine.

EngineError
├── OverloadedError           too many requests or pixels waiting
├── UnavailableError          shutting down, or the device thread died
├── OutOfMemoryError          no memory for this picture, even alone
├── WorkerDiedError           the process that had the image died
└── DeadlineExceededError     waited longer than a request may take
TooCostlyFileError            an image file takes far more time than others of its size
NoPostProcessorError          there are no weights of one
UnknownProfileError           no loaded model has this name
TooCostlyError                it would take longer than a request may
AbandonedError                nobody waits for a job any more
TargetMissedError             the smallest stream is over a budget that was meant strictly
"""

from __future__ import annotations


class EngineError(Exception):
    """The engine cannot take or finish a job now. Its text is fit for users."""

    def __init__(self, detail: str, *, retry_after: float) -> None:
        super().__init__(detail)
        self.retry_after = retry_after  # seconds


class OverloadedError(EngineError):
    """Accepting the request would exceed the requests or pixels that may wait."""


class UnavailableError(EngineError):
    """The engine is shutting down, or its device thread is gone."""


class OutOfMemoryError(EngineError):
    """Device or server has no memory for a picture, though it was alone on the device.

    It is not the client's fault, who kept to the pixel limit: the limit is too high for this
    machine, or something else has its memory. Hence 503 and not 413: it belongs among the
    operator's errors, and another replica, or this one later, may well do it.
    """


class WorkerDiedError(EngineError):
    """The process that read or wrote an image died: of the image, or for lack of memory."""


class DeadlineExceededError(EngineError):
    """The job was not finished within its time."""


class TooCostlyFileError(Exception):
    """An image file takes far more processor time than ordinary ones of its size."""


class NoPostProcessorError(Exception):
    """No weights of a post-processor came with this version."""


class UnknownProfileError(Exception):
    """No loaded model has the name that was asked for."""


class TooCostlyError(Exception):
    """The work asked for is expected to take longer here than a request has."""


class AbandonedError(Exception):
    """Nobody waits for the result of a job any more; so nobody sees this, either."""


class TargetMissedError(Exception):
    """The smallest stream there is goes over the budget, and the caller wants nothing else."""
