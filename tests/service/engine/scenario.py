"""A running engine for tests."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from service.engine.engine import Engine
from service.metrics import Metrics
from service.settings import Settings


def scenario(
    steps: Callable[[Engine], Awaitable[None]], metrics: Metrics | None = None, **settings: object
) -> Metrics:
    """Run steps against an engine with one real model, and stop it."""
    metrics = metrics or Metrics()

    async def run() -> None:
        engine = Engine(Settings.model_validate({"models": "ms-ssim", "threads": 1, **settings}), metrics)
        try:
            await engine.start()
            await steps(engine)
        finally:
            await engine.close()

    asyncio.run(run())
    return metrics
