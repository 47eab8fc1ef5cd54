"""The app factory: `uvicorn --factory service.app:create_app`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import APIRouter, Depends, FastAPI
from fastapi.routing import APIRoute
from starlette.middleware.cors import CORSMiddleware

from . import __version__, tracing
from .drain import Drain
from .engine.engine import Engine
from .engine.watched import Watches
from .http import openapi, problems
from .http.auth import ApiKeys, refuse_delete
from .http.links import Links
from .inflight import Answers, Bodies
from .metrics import Metrics
from .middleware.answers import AnswerMiddleware
from .middleware.browsers import CrossSiteMiddleware, HostMiddleware, NosniffMiddleware
from .middleware.connection import DisconnectMiddleware, LingerMiddleware
from .middleware.drain import DrainMiddleware
from .middleware.errors import FaultMiddleware
from .middleware.metrics import UNKNOWN_ROUTE, MetricsMiddleware
from .middleware.progress import HEADER as PROGRESS
from .middleware.progress import ProgressMiddleware
from .middleware.request_log import RequestLogMiddleware
from .routes import ROUTERS, compress, encode, enhance, health, page
from .routes import metrics as metrics_route
from .routes.inputs import check_parameters
from .runtime import Runtime
from .settings import Settings
from .siblings import Siblings
from .store import Limits, StreamStore
from .workers import Worker

_DESCRIPTION = """
Photographs to streams of the size you ask for, and back. Compress with a budget in bits per pixel, \
in bytes, or at a quality;
the answer is the stream, kept under its SHA-256. Errors are RFC 9457 problems with a stable `type`.
"""

# Methods and headers that pages of other origins may use and read, where such pages are welcome.
_CORS_METHODS = ("GET", "HEAD", "POST", "DELETE")
_CORS_REQUEST_HEADERS = (
    "Authorization",
    "Content-Digest",
    "Content-Type",
    "If-None-Match",
    "If-Range",
    "Range",
    "X-API-Key",
    "X-Request-ID",
    PROGRESS,
)
_CORS_ANSWER_HEADERS = (
    *compress.HEADERS,
    *enhance.HEADERS,
    *encode.HEADERS,
    "Accept-Ranges",
    "Content-Range",
    "Retry-After",
    "X-Request-ID",
)

# Probes, scrapers and links to the page may add parameters of their own.
_UNCHECKED = (health.router, metrics_route.router, page.router)


def create_app(settings: Settings | None = None, worker: Worker | None = None) -> FastAPI:
    """Build the service's app.

    Models are not loaded here but when the app starts.

    Args:
        settings: unless given, they come from the environment.
        worker: this process, where it is one of several.
    """
    settings = settings or Settings()
    metrics = Metrics()
    app = _App(
        title="Ziggurat",
        version=__version__,
        description=_DESCRIPTION,
        lifespan=_lifespan,
        docs_url=None,  # FastAPI's pages load scripts from another site; `routes.page` has our own
        redoc_url=None,
    )
    app.root_path = settings.root_path
    app.state.settings = settings
    app.state.metrics = metrics
    app.state.drain = Drain()
    app.state.answers = Answers(settings.max_unread_bytes)
    app.state.watches = Watches()
    app.state.siblings = Siblings(worker, {"metrics": metrics.families, "progress": app.state.watches.find})
    _add_routes(app, settings)
    problems.install(app, metrics)
    _add_middleware(app, settings, metrics)
    metrics.initialise(_answers(settings), problems.reasons())
    app.state.tracing = tracing.instrument(app)
    return app


class _App(FastAPI):
    """FastAPI with a complete OpenAPI document."""

    def openapi(self) -> dict[str, Any]:
        if self.openapi_schema is None:
            settings: Settings = self.state.settings
            openapi.complete(super().openapi(), profiles=settings.models)
        return super().openapi()


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Open the store and start the engine; at the end, finish what was accepted and close both."""
    settings: Settings = app.state.settings
    metrics: Metrics = app.state.metrics
    engine = Engine(settings, metrics)
    async with app.state.siblings as siblings, _open_store(settings, metrics) as store:
        bodies = Bodies(settings.max_held_body_bytes, settings.body_timeout_seconds)
        app.state.runtime = Runtime(
            settings,
            metrics,
            engine,
            store,
            app.state.drain,
            bodies,
            app.state.answers,
            app.state.watches,
            siblings,
        )
        try:
            await engine.start()
            yield
        finally:
            await engine.close()
            if app.state.tracing is not None:
                await app.state.tracing.close()


@asynccontextmanager
async def _open_store(settings: Settings, metrics: Metrics) -> AsyncIterator[StreamStore]:
    """Open the store of the settings, and let Prometheus watch it."""
    opened = StreamStore(
        settings.store,
        limits=Limits(
            settings.store_max_bytes, settings.store_max_age_seconds, settings.store_min_age_seconds
        ),
        timeout_seconds=settings.store_timeout_seconds,
        on_failure=metrics.store_failed,
    )
    async with opened as store:
        if (quota := store.quota) is not None:
            metrics.watch_store(
                stored_bytes=lambda: quota.bytes,
                stored_objects=lambda: quota.streams,
                max_bytes=quota.max_bytes,
            )
        yield store


def _add_routes(app: FastAPI, settings: Settings) -> None:
    """Add all endpoints."""
    keys = [Depends(ApiKeys(settings.api_keys, Links(settings.link_secrets)))]
    open_to_all = [] if settings.api_keys or settings.delete_without_keys else [Depends(refuse_delete)]
    for router in ROUTERS:
        guards = keys if _secured(router, settings) else open_to_all
        if router not in _UNCHECKED:
            guards = [*guards, Depends(check_parameters)]
        app.include_router(router, dependencies=guards)


def _secured(router: APIRouter, settings: Settings) -> bool:
    """Say whether endpoints need a key. Probes and the page need none; `/metrics` by a setting."""
    is_open = router in (health.router, page.router) or (
        router is metrics_route.router and settings.open_metrics
    )
    return bool(settings.api_keys) and not is_open


def _add_middleware(app: FastAPI, settings: Settings, metrics: Metrics) -> None:
    """Wrap the app in its middleware, from the inside out.

    All of it is pure ASGI: behind Starlette's BaseHTTPMiddleware nobody learns that a client has
    hung up.
    """
    app.add_middleware(FaultMiddleware)
    app.add_middleware(ProgressMiddleware, watches=app.state.watches)
    app.add_middleware(DisconnectMiddleware)
    app.add_middleware(CrossSiteMiddleware, metrics=metrics, welcome=settings.cors_origins)
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=_CORS_METHODS,
            allow_headers=_CORS_REQUEST_HEADERS,
            expose_headers=_CORS_ANSWER_HEADERS,
        )
    app.add_middleware(HostMiddleware, metrics=metrics, allowed=settings.allowed_hosts, listens=settings.host)
    app.add_middleware(NosniffMiddleware)
    app.add_middleware(MetricsMiddleware, metrics=metrics)
    app.add_middleware(RequestLogMiddleware)
    app.add_middleware(LingerMiddleware)
    app.add_middleware(AnswerMiddleware, answers=app.state.answers)
    app.add_middleware(DrainMiddleware, drain=app.state.drain)


def _answers(settings: Settings) -> Iterator[tuple[str, str, int]]:
    """Yield (route, method, status) of every answer that an endpoint declares or shares.

    What is refused before an endpoint is looked for belongs to no route.
    """
    for method in ("GET", "HEAD", "POST", "DELETE"):
        yield from ((UNKNOWN_ROUTE, method, status) for status in (404, *openapi.unrouted(method)))
    for router in ROUTERS:
        for route in router.routes:
            if isinstance(route, APIRoute):
                declared = {route.status_code or 200, *map(int, route.responses)}
                has_body = "requestBody" in (route.openapi_extra or {})
                secured = _secured(router, settings)
                statuses = {*declared, *openapi.shared(secured=secured, has_body=has_body)}
                yield from (
                    (route.path, method, status) for method in route.methods or () for status in statuses
                )
