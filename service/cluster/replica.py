"""One replica: the whole app in a process of Ray's, and what Ray asks of it."""

from __future__ import annotations

import asyncio
import logging
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

import ray
from fastapi import APIRouter, Depends, FastAPI
from fastapi.responses import JSONResponse

from .. import logs
from ..settings import Settings
from .autoscaling import QUEUED_PIXELS

if TYPE_CHECKING:
    from ..metrics import Metrics  # it loads torch

_log = logging.getLogger(__name__)
_QUEUE = "ziggurat_queue_pixels"


class NotReadyError(Exception):
    """The replica takes no work: its device failed. Ray takes it out, and then replaces it."""


class Replica:
    """The app as a deployment's class.

    Args:
        settings: of the service, the same for every replica.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._app: FastAPI

    def __serve_build_asgi_app__(self) -> FastAPI:
        """Build the app; Ray calls this in the replica, and runs the app's lifespan."""
        from ray.serve._private.constants import RAY_SERVE_ENABLE_HA_PROXY

        from ..app import create_app

        logs.configure(self._settings.log_format, self._settings.log_level)
        if not RAY_SERVE_ENABLE_HA_PROXY:
            _log.warning(
                "bodies go through Ray's Python proxy, which holds all of each in memory, and Prometheus "
                "cannot reach the replicas: start Ray with `python -m service.cluster`"
            )
        self._app = create_app(for_share(self._settings, _cores()))
        self._app.include_router(router, dependencies=_guards(self._settings), include_in_schema=False)
        return self._app

    async def check_health(self) -> None:
        """Ask the app's own readiness; called by Ray every few seconds.

        Raises:
            NotReadyError: no work is taken.
        """
        if not self._app.state.runtime.engine.ready:
            raise NotReadyError("the device thread has ended or is stuck")

    async def record_autoscaling_stats(self) -> dict[str, float]:
        """Report the pixels of requests admitted and not answered."""
        metrics: Metrics = self._app.state.metrics
        (family,) = metrics.registry.restricted_registry([_QUEUE]).collect()
        return {QUEUED_PIXELS: family.samples[0].value}


def for_share(settings: Settings, cores: int) -> Settings:
    """Return the settings for a replica that has so many of a machine's cores.

    What the operator left open would otherwise count all of them.
    """
    on_cpu = settings.device == "cpu"
    share: dict[str, object] = {}
    if settings.threads is None and on_cpu:
        share["threads"] = cores
    if settings.entropy_workers is None:
        share["entropy_workers"] = cores // 4 if on_cpu else min(max(cores - 2, 0), 16)
    return settings.model_copy(update=share)


def _cores() -> int:
    assigned: dict[str, float] = ray.get_runtime_context().get_assigned_resources()  # type: ignore[no-untyped-call]
    return max(1, int(assigned.get("CPU", 1)))


def _guards(settings: Settings) -> list[Any]:
    """Return what guards `/metrics`, too."""
    from ..http.auth import ApiKeys
    from ..http.links import Links

    is_open = settings.open_metrics or not settings.api_keys
    return [] if is_open else [Depends(ApiKeys(settings.api_keys, Links(settings.link_secrets)))]


router = APIRouter()


@router.get("/metrics/replicas")
async def replicas() -> JSONResponse:
    """Every replica, in the form in which Prometheus discovers what to scrape over HTTP.

    Each has a port of its own for HAProxy, and answers /metrics there.
    """
    return JSONResponse(await asyncio.to_thread(_discover))


def _discover() -> list[dict[str, Any]]:
    from ray.serve._private.constants import SERVE_CONTROLLER_NAME, SERVE_NAMESPACE

    controller = ray.get_actor(SERVE_CONTROLLER_NAME, namespace=SERVE_NAMESPACE)
    asked = [
        controller.get_target_groups.remote(from_proxy_manager=True),
        controller.get_http_config.remote(),
    ]
    groups, http = ray.get(asked, timeout=5)
    # On a loopback address the cluster is one machine, whatever that is called elsewhere.
    own = http.host if ip_address(http.host).is_loopback else None
    return [
        {
            "targets": [f"{own or target.ip}:{target.port}"],
            "labels": {"replica": target.name.rpartition("#")[2]},
        }
        for group in groups
        if group.protocol == "HTTP" and group.ingress_deployment_name
        for target in group.targets
    ]
