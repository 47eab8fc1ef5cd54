"""Every error that this package raises on purpose, in one tree: the service's, class by class.

    ZigguratError
    ├── BitstreamError              something is wrong with a stream
    │   ├── NotAStreamError, NewerVersionError, OlderVersionError, UnknownModelError
    │   └── TruncatedStreamError, DamagedStreamError, StreamTooLargeError
    ├── ImageError                  something is wrong with an image file
    │   ├── UnsupportedImageError, UnsupportedVariantError, ImageTooLargeError
    │   └── AnimatedImageError, DamagedImageError, FormatLimitError, TooCostlyFileError
    ├── TargetError, PictureError, SourceError, TargetMissedError, TooCostlyError
    ├── StoreError                  something is wrong with a stored stream, or the store
    │   └── NotStoredError, StoreUnavailableError, StoreFullError, StoreDamagedError
    ├── EngineError                 the service cannot do it now
    │   ├── OverloadedError, UnavailableError
    │   └── OutOfMemoryError, WorkerDiedError, DeadlineExceededError
    ├── RequestError                the service refuses the request as it was sent
    │   ├── UnauthorizedError, ForbiddenError, CrossSiteError, BadHostError, UnknownHostError
    │   ├── BadLinkError, ExpiredLinkError, LinksOffError
    │   ├── UnsupportedBodyError, BodyTooLargeError, BodyTimeoutError, MalformedBodyError
    │   ├── DigestMismatchError, NotAcceptableError, RangeNotSatisfiableError
    │   └── InvalidRequestError, UnknownProfileError, NoPostProcessorError
    └── ServiceError                there is no answer, or none of this service
        ├── UnreachableError            no connection: nothing was sent
        ├── ConnectionLostError         the connection ended before the answer did
        ├── TimedOutError               the client's own time was over
        ├── StatusError                 a status without a type: a wrong path, a proxy's error
        └── DamagedAnswerError          the answer does not have its own digest, or makes no sense

What the service answered is in `problem`; None of an error that was found without the service.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

TYPE_PREFIX = "urn:problem-type:ziggurat:"


@dataclass(frozen=True, slots=True)
class InvalidParameter:
    """One parameter of a request that was refused."""

    parameter: str
    detail: str


@dataclass(frozen=True, slots=True)
class Problem:
    """An error as the service described it (RFC 9457).

    Attributes:
        type: stable across versions; "about:blank" where the status says it all.
        title: the type in words.
        status: of the answer.
        detail: for people, may change.
        request_id: as in the service's log.
        model_id: the model that the stream needs, of an unknown one.
        errors: the parameters that are wrong, of an invalid request.
        retry_after: seconds to wait, as the service asks.
    """

    type: str
    title: str
    status: int
    detail: str
    request_id: str | None = None
    model_id: str | None = None
    errors: tuple[InvalidParameter, ...] = ()
    retry_after: float | None = None


class ZigguratError(Exception):
    """Base of every error that this package raises on purpose. Its text is fit for users."""

    slug: ClassVar[str] = ""  # the last part of the problem's type
    by_slug: ClassVar[dict[str, type[ZigguratError]]] = {}

    def __init__(self, detail: str, problem: Problem | None = None) -> None:
        super().__init__(detail, problem)
        self.detail = detail
        self.problem = problem

    def __init_subclass__(cls, slug: str = "") -> None:
        super().__init_subclass__()
        cls.slug = slug
        if slug:
            ZigguratError.by_slug[slug] = cls

    def __str__(self) -> str:
        return self.detail


def of(problem: Problem) -> ZigguratError:
    """Return the error that a problem stands for. A later service may have types unknown here."""
    known = ZigguratError.by_slug.get(problem.type.removeprefix(TYPE_PREFIX), StatusError)
    return known(problem.detail or problem.title, problem)


class BitstreamError(ZigguratError):
    """A stream cannot be decoded; the subclass says why."""


class NotAStreamError(BitstreamError, slug="not-a-stream"):
    """The bytes do not begin like a Ziggurat stream."""


class NewerVersionError(BitstreamError, slug="newer-stream"):
    """The stream was written in a later version of the format."""


class OlderVersionError(BitstreamError, slug="older-stream"):
    """The stream was written in an earlier version of the format, whose models are gone."""


class UnknownModelError(BitstreamError, slug="unknown-model"):
    """The stream was written with a model that is not loaded; `problem.model_id` names it."""


class TruncatedStreamError(BitstreamError, slug="truncated-stream"):
    """The stream is shorter than its header says."""


class DamagedStreamError(BitstreamError, slug="damaged-stream"):
    """The checksum does not match, or a field holds what no encoder writes."""


class StreamTooLargeError(BitstreamError, slug="stream-too-large"):
    """The stream has more pixels than the service decodes."""


class ImageError(ZigguratError):
    """An image file cannot be read or written; the subclass says why."""


class UnsupportedImageError(ImageError, slug="unsupported-image"):
    """The bytes are no image of a format that is read."""


class UnsupportedVariantError(ImageError, slug="unsupported-variant"):
    """The file is sound, and of a form of its format that is not read."""


class ImageTooLargeError(ImageError, slug="image-too-large"):
    """The image claims too many pixels; of an album, all images together do."""


class AnimatedImageError(ImageError, slug="animated-image"):
    """The file holds several frames or pages."""


class DamagedImageError(ImageError, slug="damaged-image"):
    """The file is truncated or corrupt."""


class FormatLimitError(ImageError, slug="format-limit"):
    """The picture is too large for the format that was asked for."""


class TooCostlyFileError(ImageError, slug="costly-image"):
    """The file takes far more processor time than ordinary ones of its size."""


class TargetError(ZigguratError, slug="invalid-target"):
    """The budget contradicts itself or is out of range."""


class PictureError(ZigguratError, slug="invalid-picture"):
    """The pixels cannot be compressed."""


class SourceError(ZigguratError, slug="unsuitable-source"):
    """Post-processing has no use for this file or stream."""


class TargetMissedError(ZigguratError, slug="target-missed"):
    """The smallest stream there is goes over the budget, which was meant strictly."""


class TooCostlyError(ZigguratError, slug="too-costly"):
    """The work asked for would take longer than a request has there."""


class StoreError(ZigguratError):
    """A stored stream cannot be had, or none be stored; the subclass says why."""


class NotStoredError(StoreError, slug="unknown-id"):
    """No stream with this id is stored."""


class StoreUnavailableError(StoreError, slug="store-unavailable"):
    """The disk or the bucket behind the store failed."""


class StoreFullError(StoreError, slug="store-full"):
    """The store has no room."""


class StoreDamagedError(StoreError, slug="damaged-in-store"):
    """The stored stream no longer is what its id says."""


class EngineError(ZigguratError):
    """The service cannot take or finish the work now; `problem.retry_after` says when to ask."""


class OverloadedError(EngineError, slug="overloaded"):
    """More is waiting than the service accepts. Nothing was done."""


class UnavailableError(EngineError, slug="unavailable"):
    """The service is starting or leaving, or its device failed. Nothing was done."""


class OutOfMemoryError(EngineError, slug="out-of-memory"):
    """The service has no memory for this picture."""


class WorkerDiedError(EngineError, slug="worker-died"):
    """The process there that had the image died."""


class DeadlineExceededError(EngineError, slug="deadline-exceeded"):
    """The service did not finish in the time that a request has there."""


class RequestError(ZigguratError):
    """The service refuses the request as it was sent; the subclass says why."""


class UnauthorizedError(RequestError, slug="unauthorized"):
    """There is no API key, or not a valid one."""


class ForbiddenError(RequestError, slug="forbidden"):
    """The API key is valid, and not for this."""


class BadLinkError(RequestError, slug="bad-link"):
    """The signed link was not made by this service for this stream."""


class ExpiredLinkError(RequestError, slug="expired-link"):
    """The signed link was good until an earlier time."""


class LinksOffError(RequestError, slug="links-off"):
    """The service has API keys, and no secret to sign links with."""


class CrossSiteError(RequestError, slug="cross-site"):
    """The request looks as if a page of another site sent it."""


class BadHostError(RequestError, slug="bad-host"):
    """There is not one `Host` header."""


class UnknownHostError(RequestError, slug="unknown-host"):
    """The service does not answer to the name in the URL."""


class UnsupportedBodyError(RequestError, slug="unsupported-body"):
    """The body's type or encoding does not fit."""


class BodyTooLargeError(RequestError, slug="body-too-large"):
    """The body has more bytes than the service reads."""


class BodyTimeoutError(RequestError, slug="body-timeout"):
    """The body came too slowly."""


class DigestMismatchError(RequestError, slug="digest-mismatch"):
    """The body that arrived is not the one that was sent."""


class MalformedBodyError(RequestError, slug="malformed-body"):
    """The body is empty, broken, or has too many files."""


class NotAcceptableError(RequestError, slug="not-acceptable"):
    """The service cannot give what `Accept` asks for."""


class RangeNotSatisfiableError(RequestError, slug="range-not-satisfiable"):
    """The range lies outside the stream."""


class InvalidRequestError(RequestError, slug="invalid-request"):
    """A parameter is unknown, missing or out of range; `problem.errors` names it."""


class UnknownProfileError(RequestError, slug="unknown-profile"):
    """No loaded model has the name that was asked for."""


class NoPostProcessorError(RequestError, slug="no-post-processor"):
    """The service has no post-processor for other encoders' files."""


class ServiceError(ZigguratError):
    """There is no answer, or none of this service; the subclass says why."""


class UnreachableError(ServiceError):
    """There is no connection to the service. Nothing was sent."""


class ConnectionLostError(ServiceError):
    """The connection ended before the answer did. What the service did is not known."""


class TimedOutError(ServiceError):
    """The client's own time for the call was over."""


class StatusError(ServiceError):
    """The answer is an error without a type known here: a wrong path, a proxy's error."""


class DamagedAnswerError(ServiceError):
    """The answer does not have its own digest, or is not in the form that it should have."""
