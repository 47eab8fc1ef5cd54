"""The app factory: `uvicorn --factory service.app:create_app`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute

from . import __version__, problems
from .engine import Engine
from .metrics import Metrics, MetricsMiddleware
from .routes import ROUTERS
from .runtime import Runtime
from .settings import Settings
from .store import StreamStore

_DESCRIPTION = """
Photographs to streams of the size you ask for, and back. Compress with a budget in bits per pixel, in bytes, or at a quality;
the answer is the stream, kept under its SHA-256. Errors are RFC 9457 problems with a stable `type`.
"""


class _App(FastAPI):
    def openapi(self) -> dict[str, Any]:
        if self.openapi_schema is None:
            problems.add_to_openapi(super().openapi())
        return super().openapi()


def create_app(settings: Settings | None = None) -> FastAPI:
    """The service; settings come from the environment unless given. Models are loaded when the app starts, not here."""
    settings = settings or Settings()
    metrics = Metrics()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        engine = Engine(settings, metrics)
        app.state.runtime = Runtime(settings, metrics, engine, StreamStore(settings.store))
        try:
            await engine.start()
            yield
        finally:
            await engine.close()

    app = _App(title="Ziggurat", version=__version__, description=_DESCRIPTION, lifespan=lifespan)
    for router in ROUTERS:
        app.include_router(router)
    problems.install(app, metrics)
    app.add_middleware(MetricsMiddleware, metrics=metrics)
    metrics.initialise(
        (
            (route.path, method, status)
            for router in ROUTERS
            for route in router.routes
            if isinstance(route, APIRoute)
            for method in route.methods or ()
            for status in {route.status_code or 200, 500, *map(int, route.responses)}
        ),
        problems.reasons(),
    )
    return app
