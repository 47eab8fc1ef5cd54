from __future__ import annotations

import pytest

from service.engine.errors import (
    DeadlineExceededError,
    EngineError,
    OutOfMemoryError,
    OverloadedError,
    UnavailableError,
)


@pytest.mark.parametrize("kind", [DeadlineExceededError, OutOfMemoryError, OverloadedError, UnavailableError])
def test_whoever_may_come_again_is_told_when(kind: type[EngineError]) -> None:
    error = kind("no room", retry_after=2.5)

    assert isinstance(error, EngineError)
    assert (str(error), error.retry_after) == ("no room", 2.5)
