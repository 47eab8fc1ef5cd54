"""One replica without a cluster; tests/end_to_end/test_cluster.py has a real one."""

from __future__ import annotations

import pickle

import pytest

from service.cluster.replica import for_share
from service.settings import Settings


def test_settings_reach_a_replica_with_their_keys() -> None:
    settings = Settings(api_keys=("a-key-of-20-letters:read",))  # type: ignore[arg-type]
    arrived = pickle.loads(pickle.dumps(settings))
    assert arrived == settings
    assert arrived.api_keys[0].get_secret_value() == "a-key-of-20-letters:read"


@pytest.mark.parametrize(
    ("settings", "cores", "threads", "entropy_workers"),
    [
        (Settings(), 8, 8, 2),
        (Settings(), 1, 1, 0),
        (Settings(threads=2, entropy_workers=1), 8, 2, 1),
        (Settings(device="cuda"), 4, None, 2),
        (Settings(device="cuda"), 64, None, 16),
        (Settings(device="cuda"), 1, None, 0),
    ],
)
def test_what_is_left_open_is_for_the_share_of_the_cores(
    settings: Settings, cores: int, threads: int | None, entropy_workers: int
) -> None:
    share = for_share(settings, cores)
    assert (share.threads, share.entropy_workers) == (threads, entropy_workers)
