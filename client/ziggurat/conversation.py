"""Calls of the service without any input or output: what to send, when to wait, when to give up.

An operation is a generator of steps, and a shell performs them: `ziggurat.client` blocks,
`ziggurat.async_client` awaits. All that they could do differently is written here, once.

    operation --Send, Sleep, Run--> shell --what came of it--> operation --> result
"""

from __future__ import annotations

import base64
import json
import random
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from hashlib import sha256
from http import HTTPStatus
from itertools import count
from typing import Any, TypeVar

from ziggurat.bodies import Body
from ziggurat.errors import (
    ConnectionLostError,
    DamagedAnswerError,
    InvalidParameter,
    OverloadedError,
    Problem,
    StatusError,
    TimedOutError,
    UnavailableError,
    UnreachableError,
    ZigguratError,
    of,
)

T = TypeVar("T")

TIMEOUT_SECONDS = 180.0  # more than a request has on the service by default, which is 120
RETRIES = 3
_FIRST_WAIT = 0.25  # seconds before the second attempt where the service does not say; then twice that
_LONGEST_WAIT = 8.0


@dataclass(frozen=True, slots=True)
class Request:
    """A request, apart from the service's address and the caller's key."""

    method: str
    path: str
    parameters: Mapping[str, str] = field(default_factory=dict)
    accept: str = "*/*"
    body: Body | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer, read to its end.

    Attributes:
        status: below 400 where an operation gets to see it.
        headers: names are in small letters.
        content: the body.
    """

    status: int
    headers: Mapping[str, str]
    content: bytes

    def json(self) -> Any:
        """The content as JSON. Raises `DamagedAnswerError`."""
        try:
            return json.loads(self.content)
        except ValueError as error:
            raise DamagedAnswerError(f"the answer is not JSON: {error}") from error


@dataclass(frozen=True, slots=True)
class Send:
    """A step: send this in the time that is left, and reply with the `Answer`.

    Raises into the operation: `ServiceError`s.
    """

    request: Request
    patience: Patience


@dataclass(frozen=True, slots=True)
class Incoming:
    """An answer whose body still comes.

    Attributes:
        status: of the answer.
        headers: names are in small letters.
        chunks: the client's own iterator of the body.
        close: lets go of the connection; to be awaited by the client that awaits.
    """

    status: int
    headers: Mapping[str, str]
    chunks: Any = field(repr=False)
    close: Callable[[], Any] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Receive:
    """A step: send this, and reply with the `Incoming` as soon as its headers are there.

    Raises into the operation: `ServiceError`s.
    """

    request: Request
    patience: Patience


@dataclass(frozen=True, slots=True)
class Read:
    """A step: reply with the next chunk of what comes; an empty one ends it.

    Raises into the operation: `ServiceError`s.
    """

    incoming: Incoming
    patience: Patience


@dataclass(frozen=True, slots=True)
class Sleep:
    """A step: wait."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Run:
    """A step: call this, which takes a while, and reply with what it returns."""

    function: Callable[[], Any]


Step = Send | Receive | Read | Sleep | Run
Conversation = Generator[Step, Any, T]


class Patience:
    """The time that a call may take, and the times that it may be tried.

    Args:
        timeout: seconds for all of it, waits and repetitions included; None for any number.
        retries: times that a request is sent again, at most.
    """

    def __init__(self, timeout: float | None, retries: int) -> None:
        self._timeout = timeout
        self._retries = retries
        self._end = None if timeout is None else time.monotonic() + timeout

    def left(self) -> float | None:
        """Seconds that are left. Raises `TimedOutError` when there are none."""
        left = self._remaining()
        if left is not None and left <= 0:
            raise TimedOutError(f"the call took longer than {self._timeout:g} seconds")
        return left

    def wait(self, error: ZigguratError, request: Request, attempt: int) -> float | None:
        """Seconds to wait before `request` is sent again; None when it must not be.

        It is sent again where nothing was done: without a connection, and where the service turned
        it away at the door. One that only reads is sent again after a lost connection too.
        """
        if attempt >= self._retries or not _is_safe(error, request):
            return None
        wait = min(_FIRST_WAIT * 2**attempt, _LONGEST_WAIT)
        if error.problem is not None and error.problem.retry_after is not None:
            wait = error.problem.retry_after
        wait *= 1 + random.random() / 4  # not all clients at once
        left = self._remaining()
        return None if left is not None and wait >= left else wait

    def _remaining(self) -> float | None:
        return None if self._end is None else self._end - time.monotonic()


def exchange(request: Request, patience: Patience) -> Conversation[Answer]:
    """Send a request, as often as is safe and allowed, and return the answer.

    Raises:
        ZigguratError: what the service answered, or `ServiceError` where it did not.
    """
    for attempt in count():
        error: ZigguratError
        try:
            answer: Answer = yield Send(request, patience)
            if answer.status < 400:
                return _sound(answer, request)
            error = refusal(request, answer)
        except (UnreachableError, ConnectionLostError) as lost:
            error = lost
        wait = patience.wait(error, request, attempt)
        if wait is None:
            raise error
        yield Sleep(wait)
    raise AssertionError


def problem_in(answer: Answer) -> Problem:
    """Read the problem in an answer of status 400 or above; make one of what is none."""
    try:
        told = json.loads(answer.content) if "json" in answer.headers.get("content-type", "") else {}
    except ValueError:
        told = {}
    told = told if isinstance(told, dict) else {}
    wrong = told.get("errors")
    phrase = _phrase(answer.status)
    return Problem(
        type=str(told.get("type", "about:blank")),
        title=str(told.get("title", phrase)),
        status=answer.status,
        detail=str(told.get("detail", phrase)),
        request_id=told.get("request_id") or answer.headers.get("x-request-id"),
        model_id=told.get("model_id"),
        errors=tuple(
            InvalidParameter(str(one.get("parameter")), str(one.get("detail")))
            for one in (wrong if isinstance(wrong, list) else ())
            if isinstance(one, dict)
        ),
        retry_after=_seconds(answer.headers.get("retry-after")),
    )


def content_digest(digest: bytes) -> str:
    """Write a SHA-256 as Content-Digest does (RFC 9530)."""
    return f"sha-256=:{base64.b64encode(digest).decode()}:"


def refusal(request: Request, answer: Answer) -> ZigguratError:
    """Make the error that an answer tells of, which is no success."""
    problem = problem_in(answer)
    error = of(problem)
    if isinstance(error, StatusError):
        told = f"{request.method} /{request.path} was answered with {answer.status}: {problem.detail}"
        return StatusError(told, problem)
    return error


def _is_safe(error: ZigguratError, request: Request) -> bool:
    if isinstance(error, UnreachableError):
        return True
    if request.body is not None and not request.body.repeatable:
        return False
    if isinstance(error, OverloadedError | UnavailableError):
        return True
    if isinstance(error, StatusError) and error.problem is not None:
        # The service's own 503 for too many connections, and what balancers answer, have no type.
        return error.problem.status == 429 or (
            error.problem.status == 503 and error.problem.retry_after is not None
        )
    return isinstance(error, ConnectionLostError) and request.method == "GET"


def _sound(answer: Answer, request: Request) -> Answer:
    """Check an answer against its own digest, which tells a cut from a whole. Returns it."""
    if not 200 <= answer.status < 300:  # a redirection: whoever is there, the key is not for them
        raise refusal(request, answer)
    digest = answer.headers.get("content-digest", "")
    if digest.startswith("sha-256=") and digest != content_digest(sha256(answer.content).digest()):
        raise DamagedAnswerError("the answer was damaged on its way: its digest is another")
    return answer


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"


def _seconds(retry_after: str | None) -> float | None:
    """Seconds that a Retry-After header asks for: it has a number of them, or a date."""
    if retry_after is None:
        return None
    if retry_after.strip().isdecimal():
        return float(retry_after)
    try:
        return max(0.0, parsedate_to_datetime(retry_after).timestamp() - time.time())
    except ValueError:
        return None
