"""The application that `serve run` and serve.yaml name; its options follow from the settings."""

# Without `from __future__ import annotations`: Ray reads the type of `app`'s argument at run time.

import math

from pydantic import BaseModel, ConfigDict, Field
from ray import serve
from ray.serve import Application
from ray.serve.config import AutoscalingConfig, AutoscalingPolicy
from ray.serve.schema import LoggingConfig

from .. import machine
from ..settings import Settings
from ..store.errors import StoreError
from .autoscaling import QueuedPixels
from .environment import LEAVING_SECONDS, OF_REPLICAS
from .replica import Replica

_MAX_CONNECTIONS = 4_000  # of a process under our own server, too (`service.server`)
_CLOSING_SECONDS = 10  # for the app's own end, after its last answer
_GPU_CORES = 4  # beside a GPU: event loop, image and entropy workers


class StoreNotSharedError(StoreError):
    """The store belongs to one machine or process: other replicas would not find its streams."""

    def __init__(self, location: str) -> None:
        super().__init__(
            f"replicas need one store for all, and ZIGGURAT_STORE={location} is not: set it to s3://..., "
            "gs://... or az://..., or, if it is a directory that every node has mounted, say so: "
            "shared_directory=true"
        )


class Arguments(BaseModel):
    """Arguments of `serve run service.cluster:app`, and `args` in serve.yaml."""

    model_config = ConfigDict(extra="forbid")

    min_replicas: int = Field(default=1, ge=1, description="Replicas that are always there.")
    max_replicas: int = Field(default=1, ge=1, description="Replicas that there may be.")
    cpus: float | None = Field(
        default=None,
        gt=0,
        description="Cores of each replica; unset, all of the machine that this runs on, and 4 beside a GPU.",
    )
    gpus: float | None = Field(
        default=None, ge=0, description="GPUs of each replica; unset, one when the device is a GPU."
    )
    target_queued_pixels: float | None = Field(
        default=None,
        gt=0,
        description="Pixels admitted and not answered that each replica should have; unset, a quarter of "
        "those that it admits.",
    )
    upscale_delay_s: float = Field(default=15.0, ge=0, description="Seconds before replicas are added.")
    downscale_delay_s: float = Field(default=300.0, ge=0, description="Seconds before they are taken away.")
    shared_directory: bool = Field(
        default=False, description="Whether a store in a directory is one that all nodes have mounted."
    )


def app(arguments: Arguments) -> Application:
    """Build the application.

    Settings are read here, from the environment, and every replica has the same.

    Raises:
        StoreNotSharedError: replicas would not find each other's streams.
        pydantic.ValidationError: a setting or an argument is wrong.
    """
    settings = Settings()
    check_shared(settings.store, shared_directory=arguments.shared_directory)
    deployment = serve.deployment(
        name="Ziggurat",
        ray_actor_options={**resources(settings, arguments), "runtime_env": {"env_vars": OF_REPLICAS}},
        max_ongoing_requests=ongoing_requests(settings),
        graceful_shutdown_timeout_s=shutdown_seconds(settings),
        graceful_shutdown_wait_loop_s=0.5,
        health_check_period_s=5,
        health_check_timeout_s=30,
        logging_config=LoggingConfig(encoding="JSON", enable_access_log=False),  # the app has its own
        autoscaling_config=AutoscalingConfig(
            min_replicas=arguments.min_replicas,
            max_replicas=max(arguments.min_replicas, arguments.max_replicas),
            upscale_delay_s=arguments.upscale_delay_s,
            downscale_delay_s=arguments.downscale_delay_s,
            look_back_period_s=20,
            policy=AutoscalingPolicy(  # type: ignore[no-untyped-call]
                policy_function=f"{QueuedPixels.__module__}:{QueuedPixels.__name__}",
                policy_kwargs={"target": arguments.target_queued_pixels or settings.max_queued_pixels / 4},
            ),
        ),
    )
    return deployment(serve.ingress()(Replica)).bind(settings)


def check_shared(location: str, *, shared_directory: bool) -> None:
    """Refuse a store that only one replica would see.

    Args:
        location: as in the settings.
        shared_directory: whether a directory is the same one on every node.

    Raises:
        StoreNotSharedError: it is.
    """
    scheme, colon, _ = location.partition("://")
    if scheme == "memory" or ((not colon or scheme == "file") and not shared_directory):
        raise StoreNotSharedError(location)


def ongoing_requests(settings: Settings) -> int:
    """Requests that Ray may hand to a replica at a time.

    More than the app admits: it has to see the others too, so that they get its 429 and do not
    wait in a queue of Ray's without bounds. Those whose body still arrives count here as well.
    """
    return max(settings.max_connections or _MAX_CONNECTIONS, 2 * settings.max_queued_requests)


def shutdown_seconds(settings: Settings) -> float:
    """Seconds after which Ray kills a replica that it has asked to go.

    In these the balancers leave it, the last body arrives, and the longest request is answered.
    """
    longest = settings.body_timeout_seconds + settings.request_timeout_seconds
    return math.ceil(LEAVING_SECONDS + longest + _CLOSING_SECONDS)


def resources(settings: Settings, arguments: Arguments) -> dict[str, float]:
    """Cores and GPUs of each replica, as Ray counts them."""
    on_gpu = settings.device != "cpu"
    all_cores = max(1, int(machine.cores()))
    cpus = arguments.cpus or (min(_GPU_CORES, all_cores) if on_gpu else settings.threads or all_cores)
    gpus = arguments.gpus if arguments.gpus is not None else float(on_gpu)
    return {"num_cpus": cpus, "num_gpus": gpus}
