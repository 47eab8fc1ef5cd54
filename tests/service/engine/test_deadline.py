from __future__ import annotations

import asyncio
import time

import pytest

from service.engine.deadline import deadline
from service.engine.errors import DeadlineExceededError


def test_a_request_may_not_take_for_ever() -> None:
    async def steps() -> None:
        async with deadline(0.02, lambda: 7) as until:
            assert 0 < until - time.monotonic() <= 0.02
        with pytest.raises(DeadlineExceededError) as caught:
            async with deadline(0.02, lambda: 7):
                await asyncio.sleep(10)
        assert caught.value.retry_after == 7
        with pytest.raises(TimeoutError, match="another's"):
            async with deadline(60, lambda: 7):
                raise TimeoutError("another's")

    asyncio.run(steps())
