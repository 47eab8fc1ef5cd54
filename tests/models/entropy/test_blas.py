"""models.entropy.blas"""

from __future__ import annotations

from threading import Barrier, Thread

import pytest

from models.entropy.blas import single_threaded
from tests.models.entropy.threads import blas_threads

pytestmark = pytest.mark.usefixtures("three_blas_threads")


def test_the_limit_holds_until_the_last_has_left() -> None:
    with single_threaded():
        with single_threaded():
            assert blas_threads() == 1
        assert blas_threads() == 1
    assert blas_threads() == 3


def test_an_error_leaves_no_limit_behind() -> None:
    with pytest.raises(KeyError), single_threaded():
        raise KeyError
    assert blas_threads() == 3


def test_threads_share_the_limit() -> None:
    inside, one_left = Barrier(2), Barrier(2)
    seen = []

    def other() -> None:
        with single_threaded():
            inside.wait()
            one_left.wait()
            seen.append(blas_threads())

    thread = Thread(target=other)
    with single_threaded():
        thread.start()
        inside.wait()
    one_left.wait()
    thread.join()
    assert seen == [1]
    assert blas_threads() == 3
