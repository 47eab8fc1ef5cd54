"""models.threads"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from models import Codec, threads


@pytest.fixture(autouse=True)
def _two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_little_work_has_one_thread_and_much_has_all() -> None:
    with threads.worth(10, of=10):
        assert torch.get_num_threads() == 2
        with threads.worth(9, of=10):
            assert torch.get_num_threads() == 1
            with threads.worth(10, of=10):
                assert torch.get_num_threads() == 1, "what is part of little work is little"
        assert torch.get_num_threads() == 2


def test_what_fails_leaves_the_threads_as_they_were() -> None:
    with pytest.raises(KeyError), threads.worth(0, of=1):
        raise KeyError
    assert torch.get_num_threads() == 2


def test_other_threads_keep_theirs() -> None:
    """Those that are there, and those that begin meanwhile."""
    with ThreadPoolExecutor(1) as old, ThreadPoolExecutor(1) as new:
        assert old.submit(torch.get_num_threads).result() == 2
        with threads.worth(0, of=1):
            assert old.submit(torch.get_num_threads).result() == 2
            assert new.submit(torch.get_num_threads).result() == 2


def test_a_thread_that_is_new_to_torch_obeys() -> None:
    def inside() -> int:
        with threads.worth(0, of=1):
            return torch.get_num_threads()

    with ThreadPoolExecutor(1) as new:
        assert new.submit(inside).result() == 1
        assert new.submit(torch.get_num_threads).result() == 2


def test_without_openmp_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "_openmp", lambda: None)
    with threads.worth(0, of=1):
        assert torch.get_num_threads() == 2


def test_rate_control_of_a_small_picture_has_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    codec = Codec.load("psnr")
    seen = set()
    round_ = torch.Tensor.round_

    def watched(values: torch.Tensor) -> torch.Tensor:
        seen.add(torch.get_num_threads())
        return round_(values)

    monkeypatch.setattr(torch.Tensor, "round_", watched)
    codec.compress(np.zeros((96, 128, 3), np.uint8), bpp=0.3)
    assert seen == {1}
