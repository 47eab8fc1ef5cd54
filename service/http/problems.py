"""Errors as HTTP: here alone every typed error becomes an RFC 9457 problem.

A problem's `type` is stable: clients may compare it. Its `detail` is for people and may change.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from models import errors as codec

from .. import images, logs, store
from ..engine import errors as engine
from ..metrics import Metrics
from . import auth, body, links, multipart, negotiation, origins

MEDIA_TYPE = "application/problem+json"
_RETRY_AFTER_SECONDS = "5"  # of a 503 whose error does not say when to come back
_MAX_ERRORS = 10  # parameters that one problem names
_MAX_DETAIL = 500  # characters; what a client sent comes back in it, and must not come back whole
_MAX_ERROR_DETAIL = 200
_log = logging.getLogger(__name__)
_TYPE = "urn:problem-type:ziggurat:"


@dataclass(frozen=True, slots=True)
class _Kind:
    status: int
    slug: str
    title: str


# An error has the kind of the nearest of its base classes in this table.
_KINDS: dict[type[Exception], _Kind] = {
    codec.NotAStreamError: _Kind(422, "not-a-stream", "Not a Ziggurat stream"),
    codec.NewerVersionError: _Kind(422, "newer-stream", "Stream of a newer version"),
    codec.OlderVersionError: _Kind(422, "older-stream", "Stream of an older version"),
    codec.UnknownModelError: _Kind(422, "unknown-model", "Stream of a model that is not loaded"),
    codec.TruncatedStreamError: _Kind(422, "truncated-stream", "Truncated stream"),
    codec.DamagedStreamError: _Kind(422, "damaged-stream", "Damaged stream"),
    codec.StreamTooLargeError: _Kind(422, "stream-too-large", "Stream over the pixel limit"),
    codec.TargetError: _Kind(422, "invalid-target", "Contradictory or impossible budget"),
    codec.PictureError: _Kind(422, "invalid-picture", "Pixels that cannot be compressed"),
    codec.SourceError: _Kind(422, "unsuitable-source", "File that post-processing is not for"),
    images.UnsupportedImageError: _Kind(415, "unsupported-image", "Not an image we read"),
    images.UnsupportedVariantError: _Kind(415, "unsupported-variant", "Form of a format that is not read"),
    images.ImageTooLargeError: _Kind(413, "image-too-large", "Image over the pixel limit"),
    images.AnimatedImageError: _Kind(422, "animated-image", "Animated image"),
    images.DamagedImageError: _Kind(422, "damaged-image", "Damaged image"),
    images.FormatLimitError: _Kind(422, "format-limit", "Picture too large for its format"),
    store.NotStoredError: _Kind(404, "unknown-id", "No such stream"),
    store.StoreUnavailableError: _Kind(503, "store-unavailable", "Stream store unavailable"),
    store.StoreFullError: _Kind(507, "store-full", "Stream store full"),
    store.StoreDamagedError: _Kind(500, "damaged-in-store", "Stream damaged in the store"),
    engine.OverloadedError: _Kind(429, "overloaded", "Too much work waiting"),
    engine.UnavailableError: _Kind(503, "unavailable", "Shutting down, or the device failed"),
    engine.OutOfMemoryError: _Kind(503, "out-of-memory", "Not enough memory"),
    engine.WorkerDiedError: _Kind(503, "worker-died", "Image process died"),
    engine.TooCostlyFileError: _Kind(422, "costly-image", "Image that takes too long to read"),
    engine.DeadlineExceededError: _Kind(503, "deadline-exceeded", "Not finished in time"),
    negotiation.NotAcceptableError: _Kind(406, "not-acceptable", "No acceptable media type"),
    negotiation.RangeNotSatisfiableError: _Kind(416, "range-not-satisfiable", "Range outside of the stream"),
    auth.UnauthorizedError: _Kind(401, "unauthorized", "API key missing or not valid"),
    auth.ForbiddenError: _Kind(403, "forbidden", "Not allowed"),
    links.BadLinkError: _Kind(403, "bad-link", "Link that is not valid"),
    links.ExpiredLinkError: _Kind(403, "expired-link", "Link that has expired"),
    links.LinksOffError: _Kind(501, "links-off", "Signed links are switched off"),
    body.UnsupportedBodyError: _Kind(415, "unsupported-body", "Unsupported Content-Type or encoding"),
    body.BodyTooLargeError: _Kind(413, "body-too-large", "Body over the byte limit"),
    body.BodyTimeoutError: _Kind(408, "body-timeout", "Body not received in time"),
    body.DigestMismatchError: _Kind(422, "digest-mismatch", "Body does not match its digest"),
    multipart.MalformedBodyError: _Kind(422, "malformed-body", "Empty or malformed body"),
    origins.BadHostError: _Kind(400, "bad-host", "Not one Host header"),
    origins.UnknownHostError: _Kind(421, "unknown-host", "Not a name of this service"),
    origins.CrossSiteError: _Kind(403, "cross-site", "Sent from a page of another site"),
    engine.NoPostProcessorError: _Kind(501, "no-post-processor", "No post-processor installed"),
    engine.UnknownProfileError: _Kind(422, "unknown-profile", "Profile that is not loaded"),
    engine.TooCostlyError: _Kind(422, "too-costly", "More work than a request has time for"),
    engine.TargetMissedError: _Kind(422, "target-missed", "Budget below the model's reach"),
    ClientDisconnect: _Kind(499, "disconnected", "Client gone before the end of the body"),
    RequestValidationError: _Kind(422, "invalid-request", "Invalid parameters"),
}


# Headers that every answer of a status carries: name, description, type in OpenAPI.
_HEADERS = {
    401: ("WWW-Authenticate", "Bearer.", "string"),
    405: ("Allow", "The methods that there are.", "string"),
    416: ("Content-Range", "The size that there is.", "string"),
    429: ("Retry-After", "Seconds to wait.", "integer"),
    503: ("Retry-After", "Seconds to wait.", "integer"),
    507: ("Retry-After", "Seconds to wait.", "integer"),
}


class InvalidParameter(BaseModel):
    """One parameter of a request that was refused."""

    parameter: str
    detail: str


class Problem(BaseModel):
    """An error as RFC 9457 describes it."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "type": _TYPE + "animated-image",
                    "title": "Animated image",
                    "status": 422,
                    "detail": "the image has 12 frames; only still images can be compressed",
                }
            ]
        }
    )

    type: str = Field(description="What happened, stable across versions.")
    title: str
    status: int
    detail: str
    request_id: str | None = Field(
        default=None, description="As in the `X-Request-ID` header and in the log."
    )
    model_id: str | None = Field(
        default=None, description="The model that the stream was written with, of `unknown-model`."
    )
    errors: list[InvalidParameter] | None = Field(
        default=None, description="The parameters that are wrong, of `invalid-request`; the first ten."
    )


def describe(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return OpenAPI's `responses` for the problems with which an endpoint can answer."""
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    described: dict[int | str, dict[str, Any]] = {}
    for status in statuses:
        described[status] = {"description": HTTPStatus(status).phrase, "content": content}
        if status in _HEADERS:
            name, text, kind = _HEADERS[status]
            header = {"description": text, "required": True, "schema": {"type": kind}}
            described[status]["headers"] = {name: header}
    return described


def reasons() -> list[str]:
    """Return the last part of every `type` there is."""
    return [kind.slug for kind in _KINDS.values()]


def install(app: FastAPI, metrics: Metrics) -> None:
    """Answer every error of the app as a problem, and count the typed ones."""

    async def counted(request: Request, error: Exception) -> JSONResponse:
        unknown = isinstance(error, RequestValidationError)  # alone has a use for names
        return refusal(error, metrics, _parameters(request) if unknown else ())

    for cls in _KINDS:
        app.add_exception_handler(cls, counted)
    app.add_exception_handler(HTTPException, _http)


def reason_of(error: Exception) -> str | None:
    """Return the last part of the `type` of a typed error; None of any other."""
    kind = _kind_of(error)
    return None if kind is None else kind.slug


def refusal(error: Exception, metrics: Metrics, parameters: Sequence[str] = ()) -> JSONResponse:
    """Build the answer to a typed error, and count it.

    `parameters` are those that the query takes, to be named where one is unknown.
    """
    kind = _kind_of(error)
    assert kind is not None
    metrics.refused(kind.slug)
    if isinstance(error, store.StoreError) and kind.status >= 500:
        _log.error("the store failed", exc_info=error)
    return _typed(kind, error, parameters)


def fault() -> JSONResponse:
    """Build the answer to a fault of the service itself, which says nothing of the fault."""
    detail = "the server failed; the fault is logged"
    problem = Problem(type="about:blank", title="Internal Server Error", status=500, detail=detail)
    return _response(problem, {})


def _kind_of(error: Exception) -> _Kind | None:
    return next((_KINDS[cls] for cls in type(error).__mro__ if cls in _KINDS), None)


def _typed(kind: _Kind, error: Exception, parameters: Sequence[str]) -> JSONResponse:
    problem = Problem(type=_TYPE + kind.slug, title=kind.title, status=kind.status, detail=str(error))
    headers: dict[str, str] = {}
    if isinstance(error, RequestValidationError):
        found = error.errors()
        problem.errors = [_invalid(fault, parameters) for fault in found[:_MAX_ERRORS]]
        problem.detail = "; ".join(f"{fault.parameter}: {fault.detail}" for fault in problem.errors)
        if len(found) > _MAX_ERRORS:
            problem.detail = f"{problem.detail[: _MAX_DETAIL // 2]}…; and {len(found) - _MAX_ERRORS} more"
    if isinstance(error, codec.UnknownModelError):
        problem.model_id = error.model_id
    if isinstance(error, engine.EngineError | store.StoreFullError):
        headers["Retry-After"] = str(math.ceil(error.retry_after))
    elif kind.status == 503:
        headers["Retry-After"] = _RETRY_AFTER_SECONDS
    if isinstance(error, auth.UnauthorizedError):
        headers["WWW-Authenticate"] = 'Bearer realm="ziggurat"'
    if isinstance(error, negotiation.RangeNotSatisfiableError):
        headers["Content-Range"] = f"bytes */{error.size}"
    return _response(problem, headers)


async def _http(request: Request, error: Exception) -> JSONResponse:
    """Answer an error of the framework's own: 404, 405, a multipart body that it cannot parse."""
    assert isinstance(error, HTTPException)
    phrase = HTTPStatus(error.status_code).phrase
    problem = Problem(type="about:blank", title=phrase, status=error.status_code, detail=str(error.detail))
    headers = dict(error.headers or {})
    if error.status_code == 405:
        # GET, HEAD and DELETE of one path are separate routes; Starlette names the first one's
        # alone, in no order.
        path = getattr(request.scope.get("route"), "path", None)
        operations = request.app.openapi()["paths"].get(path, headers.get("Allow", "").split(", "))
        methods = {method.upper() for method in operations}
        headers["Allow"] = ", ".join(sorted(methods | {"HEAD"} if "GET" in methods else methods))
    return _response(problem, headers)


def _invalid(error: dict[str, Any], parameters: Sequence[str]) -> InvalidParameter:
    where = ".".join(str(part) for part in error["loc"][1:]) or str(error["loc"][0])
    detail = str(error["msg"])
    if error.get("type") == "extra_forbidden" and error["loc"][0] == "query":
        detail = f"there is no such parameter; there are {', '.join(parameters) or 'none'}"
    return InvalidParameter(parameter=_short(where, 60), detail=_short(detail, _MAX_ERROR_DETAIL))


def _parameters(request: Request) -> list[str]:
    """Name the parameters that the query of a request's endpoint takes."""
    path = getattr(request.scope.get("route"), "path", None)
    operation = request.app.openapi()["paths"].get(path, {}).get(request.method.lower(), {})
    return [found["name"] for found in operation.get("parameters", ()) if found["in"] == "query"]


def _short(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"


def _response(problem: Problem, headers: Mapping[str, str]) -> JSONResponse:
    problem.request_id = logs.request_id()
    problem.detail = _short(problem.detail, _MAX_DETAIL)
    return JSONResponse(problem.model_dump(exclude_none=True), problem.status, dict(headers), MEDIA_TYPE)
