from __future__ import annotations

import asyncio
from typing import Any

import pytest
from starlette.responses import Response
from starlette.types import Message, Scope

from service.inflight import Answers
from service.middleware.answers import AnswerMiddleware

SCOPE: Scope = {"type": "http", "method": "GET"}


async def _receive() -> Message:
    return {"type": "http.disconnect"}


@pytest.mark.parametrize("length", [0, 1, 65_536, 65_537, 1_000_000])
def test_bodies_go_out_in_pieces_and_unchanged(length: int) -> None:
    content = bytes(range(256)) * (length // 256) + bytes(length % 256)
    sent: list[Any] = []

    async def send(message: Message) -> None:
        sent.append(message)

    middleware = AnswerMiddleware(Response(content), Answers(max_bytes=1))
    asyncio.run(middleware(SCOPE, _receive, send))

    bodies = [message["body"] for message in sent[1:]]
    assert b"".join(bodies) == content
    assert all(len(body) <= 65_536 for body in bodies)
    assert [message.get("more_body", False) for message in sent[1:]] == [True] * (len(bodies) - 1) + [False]


def test_what_is_not_taken_is_counted_until_it_is() -> None:
    answers = Answers(max_bytes=1_000_000)
    counted = []

    async def send(message: Message) -> None:
        counted.append(answers.bytes)

    asyncio.run(AnswerMiddleware(Response(bytes(200_000)), answers)(SCOPE, _receive, send))

    assert counted == [0, 200_000, 200_000, 200_000, 200_000]
    assert answers.bytes == 0
