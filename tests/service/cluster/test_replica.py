"""One replica without a cluster; tests/end_to_end/test_cluster.py has a real one."""

from __future__ import annotations

import asyncio
import pickle
from dataclasses import replace
from typing import cast

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from service.app import create_app
from service.cluster.autoscaling import QUEUED_PIXELS
from service.cluster.replica import NotReadyError, Replica, for_share
from service.engine.engine import Engine
from service.metrics import Metrics
from service.settings import Settings


def replica_with(app: FastAPI, settings: Settings) -> Replica:
    replica = Replica(settings)
    replica._app = app
    return replica


def test_the_pixels_that_wait_are_reported(settings: Settings) -> None:
    app = create_app(settings)
    app.state.metrics.watch_queue(images=lambda: 1, pixels=lambda: 7, oldest_age=lambda: 0.0, max_pixels=9)
    assert asyncio.run(replica_with(app, settings).record_autoscaling_stats()) == {QUEUED_PIXELS: 7.0}


def test_a_replica_is_as_well_as_its_engine(client: TestClient, settings: Settings) -> None:
    app = cast(FastAPI, client.app)
    asyncio.run(replica_with(app, settings).check_health())
    idle = create_app(settings)
    idle.state.runtime = replace(app.state.runtime, engine=Engine(settings, Metrics()))
    with pytest.raises(NotReadyError):
        asyncio.run(replica_with(idle, settings).check_health())


def test_settings_reach_a_replica_with_their_keys() -> None:
    settings = Settings(api_keys=("a-key-of-20-letters:read",))
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
