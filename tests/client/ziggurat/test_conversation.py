"""Requests that are sent again, and those that never are. The tests perform the steps."""

from __future__ import annotations

import io
import time
from collections.abc import Mapping
from email.utils import formatdate

import pytest
from ziggurat.bodies import Body, body_of, of_bytes
from ziggurat.conversation import Answer, Patience, Request, Send, Sleep, exchange, problem_in
from ziggurat.errors import (
    ConnectionLostError,
    DamagedAnswerError,
    DeadlineExceededError,
    OverloadedError,
    StatusError,
    TimedOutError,
    UnavailableError,
    UnreachableError,
    ZigguratError,
)

from tests.client.scripted import Reply, problem

POST = Request("POST", "compress", body=of_bytes(b"picture"))
GET = Request("GET", "models")
FINE = Answer(200, {}, b"fine")


def answer(reply: Reply) -> Answer:
    assert reply.status is not None
    return Answer(reply.status, {name.lower(): value for name, value in reply.headers.items()}, reply.body)


def held(
    request: Request, *replies: Reply | Answer | ZigguratError, patience: Patience | None = None
) -> tuple[Answer, list[float]]:
    """Hold a conversation in which these come back in turn: its end, and the waits in between."""
    conversation = exchange(request, patience or Patience(600, 3))
    waits = []
    coming = list(replies)
    try:
        step = next(conversation)
        while True:
            if isinstance(step, Sleep):
                waits.append(step.seconds)
                step = conversation.send(None)
                continue
            assert isinstance(step, Send)
            assert step.request is request
            reply = coming.pop(0)
            if isinstance(reply, ZigguratError):
                step = conversation.throw(reply)
            else:
                step = conversation.send(answer(reply) if isinstance(reply, Reply) else reply)
    except StopIteration as done:
        assert coming == []
        return done.value, waits


UNREACHABLE = UnreachableError("no connection")
LOST = ConnectionLostError("lost")
OVERLOADED = problem(429, "overloaded", Retry_After="7")
UNAVAILABLE = problem(503, "unavailable", Retry_After="2")
TOO_MANY_CONNECTIONS = Reply(503, b"", {"Retry-After": "5"})


@pytest.mark.parametrize("request_", [POST, GET], ids=["POST", "GET"])
@pytest.mark.parametrize(
    ("first", "seconds"),
    [(UNREACHABLE, 0.25), (OVERLOADED, 7), (UNAVAILABLE, 2), (TOO_MANY_CONNECTIONS, 5), (Reply(429), 0.25)],
    ids=["unreachable", "overloaded", "unavailable", "connections", "429"],
)
def test_what_was_not_done_is_sent_again(
    request_: Request, first: Reply | ZigguratError, seconds: float
) -> None:
    end, waits = held(request_, first, FINE)
    assert end == FINE
    assert len(waits) == 1
    assert seconds <= waits[0] <= 1.25 * seconds


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (problem(503, "deadline-exceeded", Retry_After="5"), DeadlineExceededError),
        (problem(503, "store-unavailable", Retry_After="5"), ZigguratError),
        (problem(507, "store-full", Retry_After="5"), ZigguratError),
        (problem(422, "invalid-request"), ZigguratError),
        (Reply(502), StatusError),
        (Reply(503), StatusError),  # nobody says that nothing was done
        (LOST, ConnectionLostError),
        (TimedOutError("over"), TimedOutError),
    ],
    ids=str,
)
def test_what_may_have_been_done_is_not_sent_again(
    reply: Reply | ZigguratError, error: type[ZigguratError]
) -> None:
    with pytest.raises(error):
        held(POST, reply)


def test_reading_is_tried_again_after_a_lost_connection() -> None:
    assert held(GET, LOST, FINE)[0] == FINE


def test_a_body_that_is_gone_is_not_sent_again() -> None:
    pipe = Request("POST", "compress", body=Body(body_of(io.BytesIO(b"x")).open, None, repeatable=False))
    with pytest.raises(OverloadedError):
        held(pipe, OVERLOADED)
    assert held(pipe, UNREACHABLE, FINE)[0] == FINE  # nothing of it was read


def test_waits_grow_and_end() -> None:
    with pytest.raises(UnreachableError):
        held(GET, *[UNREACHABLE] * 4)
    waits = held(GET, *[UNREACHABLE] * 7, FINE, patience=Patience(600, 9))[1]
    assert waits[:5] == sorted(waits[:5])
    assert max(waits) <= 10


def test_a_wait_that_is_longer_than_the_time_left_is_not_begun() -> None:
    with pytest.raises(OverloadedError) as refused:
        held(GET, OVERLOADED, patience=Patience(6, 3))
    assert refused.value.problem is not None
    assert refused.value.problem.retry_after == 7


def test_the_last_error_is_told_when_the_time_is_over() -> None:
    patience = Patience(0.02, 3)
    conversation = exchange(GET, patience)
    next(conversation)
    time.sleep(0.03)
    with pytest.raises(UnreachableError):
        conversation.throw(UNREACHABLE)


def test_nothing_is_sent_when_the_time_is_over() -> None:
    patience = Patience(0.001, 3)
    time.sleep(0.002)
    with pytest.raises(TimedOutError, match=r"0\.001 seconds"):
        patience.left()
    assert Patience(None, 3).left() is None


def test_a_date_to_come_back_at_is_understood() -> None:
    reply = problem(503, "unavailable", Retry_After=formatdate(time.time() + 30, usegmt=True))
    assert 25 < held(GET, reply, FINE)[1][0] < 38


@pytest.mark.parametrize(
    ("status", "headers", "body"),
    [
        (500, {"content-type": "application/problem+json"}, b"{"),
        (500, {"content-type": "application/problem+json"}, b"[]"),
        (500, {"content-type": "application/problem+json"}, b'{"errors": [1], "type": 3}'),
        (500, {"content-type": "application/json", "retry-after": "²"}, b'{"errors": 3}'),
        (799, {"content-type": "text/html", "retry-after": "soon"}, b"<h1>no</h1>"),
    ],
)
def test_an_error_in_no_known_form_is_one_all_the_same(
    status: int, headers: Mapping[str, str], body: bytes
) -> None:
    found = problem_in(Answer(status, headers, body))
    assert found.status == status
    assert found.retry_after is None


def test_an_error_names_the_request_and_the_log_entry() -> None:
    with pytest.raises(UnavailableError) as caught:
        held(GET, problem(503, "unavailable", X_Request_ID="abc"), patience=Patience(60, 0))
    assert caught.value.problem is not None
    assert caught.value.problem.request_id == "abc"
    with pytest.raises(StatusError, match="GET /models was answered with 404: Not Found"):
        held(GET, Reply(404))


def test_a_redirection_is_not_followed() -> None:
    with pytest.raises(StatusError, match="302"):
        held(GET, Reply(302, b"", {"Location": "http://elsewhere/"}))


def test_an_answer_that_was_cut_is_an_error() -> None:
    digest = {"content-digest": "sha-256=:uU0nuZNNPgilLlLX2n2r+sSE7+N6U4DukIj3rOLvzek=:"}  # of "hello world"
    assert held(GET, Answer(200, digest, b"hello world"))[0].content == b"hello world"
    with pytest.raises(DamagedAnswerError):
        held(GET, Answer(200, digest, b"hello w"))
    with pytest.raises(DamagedAnswerError):
        Answer(200, {}, b"{").json()
