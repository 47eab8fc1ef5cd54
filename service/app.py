"""The app factory: `uvicorn --factory service.app:create_app`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import Depends, FastAPI
from fastapi.routing import APIRoute
from starlette.middleware.cors import CORSMiddleware

from . import __version__
from .drain import Drain
from .engine.engine import Engine
from .http import openapi, problems
from .http.auth import ApiKeys
from .metrics import Metrics
from .middleware.connection import DisconnectMiddleware, LingerMiddleware
from .middleware.drain import DrainMiddleware
from .middleware.errors import FaultMiddleware
from .middleware.metrics import MetricsMiddleware
from .middleware.request_log import RequestLogMiddleware
from .routes import ROUTERS, compress, enhance, health
from .routes import metrics as metrics_route
from .runtime import Runtime
from .settings import Settings
from .store import Limits, StreamStore

_DESCRIPTION = """
Photographs to streams of the size you ask for, and back. Compress with a budget in bits per pixel, in bytes, or at a quality;
the answer is the stream, kept under its SHA-256. Errors are RFC 9457 problems with a stable `type`.
"""


# Methods and headers that pages of other origins may use and read, where such pages are welcome.
_METHODS = ("GET", "HEAD", "POST", "DELETE")
_TAKEN = ("Authorization", "Content-Digest", "Content-Type", "If-None-Match", "If-Range", "Range", "X-API-Key", "X-Request-ID")
_TOLD = (*compress.HEADERS, *enhance.HEADERS, "Accept-Ranges", "Content-Range", "Retry-After", "X-Request-ID")


class _App(FastAPI):
    def openapi(self) -> dict[str, Any]:
        if self.openapi_schema is None:
            openapi.complete(super().openapi(), profiles=self.state.profiles)
        return super().openapi()


def create_app(settings: Settings | None = None) -> FastAPI:
    """The service; settings come from the environment unless given. Models are loaded when the app starts, not here."""
    settings = settings or Settings()
    metrics = Metrics()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        engine = Engine(settings, metrics)
        limits = Limits(settings.store_max_bytes, settings.store_max_age_seconds, settings.store_min_age_seconds)
        opened = StreamStore(settings.store, limits=limits, timeout_seconds=settings.store_timeout_seconds, on_failure=metrics.store_failed)
        async with opened as store:
            if (quota := store.quota) is not None:
                metrics.watch_store(stored_bytes=lambda: quota.bytes, stored_objects=lambda: quota.streams, max_bytes=quota.max_bytes)
            app.state.runtime = Runtime(settings, metrics, engine, store, app.state.drain)
            try:
                await engine.start()
                yield
            finally:
                await engine.close()

    app = _App(title="Ziggurat", version=__version__, description=_DESCRIPTION, lifespan=lifespan)
    app.state.drain = Drain()
    app.state.profiles = settings.models
    keys = [Depends(ApiKeys(settings.api_keys))] if settings.api_keys else []
    for router in ROUTERS:
        is_open = router is health.router or (router is metrics_route.router and settings.open_metrics)
        app.include_router(router, dependencies=[] if is_open else keys)
    problems.install(app, metrics)
    # Pure ASGI, all of them: behind Starlette's BaseHTTPMiddleware nobody learns that a client has hung up. From the inside out:
    app.add_middleware(FaultMiddleware)
    app.add_middleware(DisconnectMiddleware)
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=("GET", "HEAD", "POST", "DELETE"),
            allow_headers=_TAKEN,
            expose_headers=_TOLD,
        )
    app.add_middleware(MetricsMiddleware, metrics=metrics)
    app.add_middleware(RequestLogMiddleware)
    app.add_middleware(LingerMiddleware)
    app.add_middleware(DrainMiddleware, drain=app.state.drain)
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
