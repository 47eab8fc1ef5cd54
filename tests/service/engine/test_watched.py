from __future__ import annotations

import asyncio

import pytest

from service.engine import watched
from service.engine.watched import Watches

TOKEN = "0123456789abcdef" * 2


def test_what_a_request_tells_is_known_by_its_token_until_it_ends() -> None:
    watches = Watches()
    assert watches.progress(TOKEN) is None
    with watches.watching(TOKEN):
        watched.enter("decode")
        found = watches.progress(TOKEN)
        assert found is not None
        assert found[:3] == ("decode", None, None)
        assert found.seconds >= 0
        watched.enter(None)  # what has no name changes nothing
        with watched.shared(lambda: 0.25), watched.shared(lambda: 0.9):  # the larger whole counts
            watched.enter("device", ahead=lambda: 2)
            assert watches.progress(TOKEN)[:3] == ("queue", 0.25, 2)  # type: ignore[index]
            watched.enter("device", ahead=lambda: None)
            assert watches.progress(TOKEN)[:3] == ("device", 0.25, None)  # type: ignore[index]
        assert watches.progress(TOKEN)[1] is None  # type: ignore[index]
    assert watches.progress(TOKEN) is None
    watched.enter("encode")  # nobody watches


def test_the_share_of_an_upload_ends_with_it() -> None:
    watches = Watches()
    with watches.watching(TOKEN) as request:
        request.receive(lambda: 0.5)
        assert watches.progress(TOKEN)[:2] == ("receive", 0.5)  # type: ignore[index]
        with watched.shared(lambda: 0.25):
            assert watches.progress(TOKEN)[:2] == ("receive", 0.25)  # type: ignore[index]
        watched.enter("decode")
        assert watches.progress(TOKEN)[:2] == ("decode", None)  # type: ignore[index]


@pytest.mark.parametrize("token", ["1", TOKEN[1:], TOKEN + "!", "x" * 129])
def test_a_token_that_may_be_guessed_is_passed_over(token: str) -> None:
    watches = Watches()
    with watches.watching(token):
        watched.enter("decode")
        assert watches.progress(token) is None


def test_requests_do_not_take_each_others_progress() -> None:
    watches = Watches()

    async def request(token: str, stage: watched.StageName, ended: asyncio.Event) -> None:
        with watches.watching(token):
            watched.enter(stage)
            await ended.wait()

    async def run() -> None:
        ended = asyncio.Event()
        others = TOKEN[::-1]
        async with asyncio.TaskGroup() as group:
            group.create_task(request(TOKEN, "decode", ended))
            group.create_task(request(TOKEN, "entropy", ended))  # the token is in use
            group.create_task(request(others, "encode", ended))
            await asyncio.sleep(0)
            assert [watches.progress(token)[0] for token in (TOKEN, others)] == ["decode", "encode"]  # type: ignore[index]
            ended.set()

    asyncio.run(run())
