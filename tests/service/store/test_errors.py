from __future__ import annotations

import pytest

from service.store import NotStoredError, StoreDamagedError, StoreError, StoreFullError, StoreUnavailableError


def test_an_id_that_a_client_made_up_is_not_repeated_at_length() -> None:
    assert len(str(NotStoredError("x" * 10_000))) < 100


@pytest.mark.parametrize(
    "error",
    [NotStoredError("0" * 64), StoreUnavailableError(), StoreFullError(), StoreDamagedError("0" * 64)],
)
def test_every_error_of_the_store_is_of_one_tree_and_says_something(error: StoreError) -> None:
    assert isinstance(error, StoreError)
    assert str(error)


def test_a_full_store_says_when_to_come_back() -> None:
    assert StoreFullError().retry_after > 0
    assert StoreFullError(retry_after=2.5).retry_after == 2.5
