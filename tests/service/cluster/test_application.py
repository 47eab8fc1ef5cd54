"""What follows from the settings, and what the manifests say."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes.client import ApiClient
from pydantic import ValidationError
from ray._common.utils import import_attr
from ray.serve._private.api import call_user_app_builder_with_args_if_necessary
from ray.serve.schema import ServeDeploySchema

from service.cluster import app
from service.cluster.application import (
    Arguments,
    StoreNotSharedError,
    check_shared,
    ongoing_requests,
    resources,
    shutdown_seconds,
)
from service.cluster.environment import of_nodes
from service.settings import Settings

ROOT = Path(__file__).parents[3]
RAY = ROOT / "docker" / "ray"


@pytest.mark.parametrize("location", ["./data", "/srv/streams", "memory://", "memory:///x", "file:///srv"])
def test_a_store_of_one_machine_is_refused(location: str) -> None:
    with pytest.raises(StoreNotSharedError, match=r"s3://.*shared_directory=true"):
        check_shared(location, shared_directory=False)


@pytest.mark.parametrize("location", ["s3://bucket/a", "gs://bucket", "az://container"])
def test_a_bucket_is_shared(location: str) -> None:
    check_shared(location, shared_directory=False)


def test_a_directory_may_be_shared_but_never_memory() -> None:
    check_shared("/mnt/streams", shared_directory=True)
    with pytest.raises(StoreNotSharedError):
        check_shared("memory://", shared_directory=True)


def test_the_application_refuses_to_be_built_on_the_default_store() -> None:
    with pytest.raises(StoreNotSharedError, match=r"ZIGGURAT_STORE=\./data"):
        app(Arguments())


@pytest.mark.parametrize("requests", [1, 512, 20_000])
def test_ray_hands_over_more_than_is_admitted(requests: int) -> None:
    """Else the rest would wait in Ray's queue, and not hear our 429."""
    assert ongoing_requests(Settings(max_queued_requests=requests)) >= 2 * requests


def test_as_many_connections_as_the_operator_says() -> None:
    assert ongoing_requests(Settings(max_connections=9_000)) == 9_000


def test_a_replica_has_time_for_its_longest_request() -> None:
    settings = Settings(request_timeout_seconds=500, body_timeout_seconds=70)
    assert shutdown_seconds(settings) >= 500 + 70 + 30


def test_the_application_has_these_options(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZIGGURAT_STORE", "s3://bucket/streams")
    monkeypatch.setenv("ZIGGURAT_MAX_QUEUED_PIXELS", "1000")
    built = app(Arguments(min_replicas=2, max_replicas=3, cpus=2))
    deployment = built._bound_deployment
    settings = Settings()
    assert deployment.max_ongoing_requests == ongoing_requests(settings)
    assert deployment.max_queued_requests == -1  # what comes is ours to refuse
    config = deployment._deployment_config
    assert config.graceful_shutdown_timeout_s == shutdown_seconds(settings)
    scaling = config.autoscaling_config
    assert scaling is not None
    assert (scaling.min_replicas, scaling.max_replicas) == (2, 3)
    assert scaling.policy.policy_kwargs == {"target": 250.0}
    assert deployment.ray_actor_options is not None
    assert deployment.ray_actor_options["num_cpus"] == 2


def test_a_gpu_for_each_replica_on_a_gpu() -> None:
    assert resources(Settings(device="cuda"), Arguments())["num_gpus"] == 1
    assert resources(Settings(device="cuda"), Arguments(gpus=0.5))["num_gpus"] == 0.5
    assert resources(Settings(), Arguments()) | {"num_cpus": 0} == {"num_cpus": 0, "num_gpus": 0}
    assert resources(Settings(threads=3), Arguments())["num_cpus"] == 3


def test_serve_run_finds_the_application(monkeypatch: pytest.MonkeyPatch) -> None:
    """`serve run service.cluster:app min_replicas=2`."""
    monkeypatch.setenv("ZIGGURAT_STORE", "s3://bucket/streams")
    built = call_user_app_builder_with_args_if_necessary(
        import_attr("service.cluster:app"), {"min_replicas": "2"}
    )
    scaling = built._bound_deployment._deployment_config.autoscaling_config
    assert scaling is not None
    assert (scaling.min_replicas, scaling.max_replicas) == (2, 2)


def test_an_unknown_argument_is_refused() -> None:
    with pytest.raises(ValidationError, match="replicas"):
        Arguments.model_validate({"replicas": 3})


def test_the_service_needs_no_ray() -> None:
    needing = [
        path
        for path in (ROOT / "service").rglob("*.py")
        if re.search(r"^(import|from) ray\b", path.read_text(), re.MULTILINE)
    ]
    assert {path.relative_to(ROOT).parts[1] for path in needing} <= {"cluster", "bulk"}


def test_naming_the_application_loads_no_torch() -> None:
    """The controller loads it, too, for the policy."""
    code = "import service.cluster.application, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


# The manifests


def serve_yaml() -> dict[str, Any]:
    read: dict[str, Any] = yaml.safe_load((RAY / "serve.yaml").read_text())
    return read


def ray_service() -> dict[str, Any]:
    read: dict[str, Any] = yaml.safe_load((RAY / "rayservice.yaml").read_text())
    return read


def pods() -> list[dict[str, Any]]:
    cluster = ray_service()["spec"]["rayClusterConfig"]
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    return [group["template"] for group in groups]


def test_ray_takes_the_configuration() -> None:
    schema = ServeDeploySchema.model_validate(serve_yaml())
    Arguments.model_validate(schema.applications[0].args)


def test_both_manifests_deploy_the_same() -> None:
    on_kubernetes = yaml.safe_load(ray_service()["spec"]["serveConfigV2"])
    elsewhere = serve_yaml()
    for configuration in (on_kubernetes, elsewhere):
        Arguments.model_validate(configuration["applications"][0].pop("args"))
    assert on_kubernetes == elsewhere


def test_pods_start_ray_as_it_has_to_be() -> None:
    for pod in pods():
        given = {entry["name"]: entry["value"] for entry in pod["spec"]["containers"][0]["env"]}
        needed = of_nodes()
        assert set(needed) <= set(given)
        places = {"RAY_SERVE_HAPROXY_BINARY_PATH", "HAPROXY_BINARY"}
        assert {name: given[name] for name in set(needed) - places} == {
            name: needed[name] for name in set(needed) - places
        }
        settings = {name.removeprefix("ZIGGURAT_").lower() for name in given if name.startswith("ZIGGURAT_")}
        assert settings <= set(Settings.model_fields)


def test_pods_wait_for_replicas_to_leave() -> None:
    longest = shutdown_seconds(Settings())
    assert all(pod["spec"]["terminationGracePeriodSeconds"] > longest for pod in pods())


def test_kubernetes_knows_every_field_of_the_pods() -> None:
    """What its own classes do not know they drop."""

    client = ApiClient()
    for pod in pods():
        parsed = client.deserialize(json.dumps(pod), "V1PodTemplateSpec", "application/json")
        assert client.sanitize_for_serialization(parsed) == pod  # type: ignore[no-untyped-call]


def test_ray_is_the_pinned_one() -> None:
    version = ray_service()["spec"]["rayClusterConfig"]["rayVersion"]
    assert f"ray=={version}\n" in (ROOT / "constraints.txt").read_text()


def test_a_replica_fits_its_worker() -> None:
    configuration = yaml.safe_load(ray_service()["spec"]["serveConfigV2"])
    arguments = Arguments.model_validate(configuration["applications"][0]["args"])
    (workers,) = ray_service()["spec"]["rayClusterConfig"]["workerGroupSpecs"]
    assert math.isclose(float(workers["rayStartParams"]["num-cpus"]), arguments.cpus or math.nan)
    assert workers["maxReplicas"] >= arguments.max_replicas
