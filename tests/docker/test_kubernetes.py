"""The manifests are what Kubernetes takes, and agree with the service's settings and each other.

Every field is checked against the models of Kubernetes' own client, which know no others.
"""

from __future__ import annotations

import copy
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes import client
from pydantic import BaseModel, ValidationError

from service import supervisor
from service.metrics import Metrics
from service.server import grace_seconds
from service.settings import Settings
from tests.docker.kustomize import Manifest, render

ROOT = Path(__file__).parents[2]
K8S = ROOT / "docker" / "k8s"
OVERLAYS = ("cpu", "gpu")
RENDERED = {name: render(K8S / "overlays" / name) for name in OVERLAYS}
COMPONENTS = sorted(path.parent for path in K8S.glob("components/*/kustomization.yaml"))
every_overlay = pytest.mark.parametrize("overlay", OVERLAYS)


def check(manifest: Manifest) -> None:
    """Raise ValidationError unless Kubernetes would take this."""
    group, _, version = manifest["apiVersion"].rpartition("/")
    model: type[BaseModel] = getattr(client, f"{version.capitalize()}{manifest['kind']}")
    group_name = group.removesuffix(".k8s.io").capitalize() or "Core"
    api = getattr(client, f"{group_name}{version.capitalize()}Api")
    created = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", manifest["kind"]).lower()
    assert hasattr(api, f"create_namespaced_{created}") or hasattr(api, f"create_{created}")
    model.model_validate(manifest, by_alias=True, by_name=False)


def find(kind: str, overlay: str = "cpu") -> Any:
    (manifest,) = [manifest for manifest in RENDERED[overlay] if manifest["kind"] == kind]
    return manifest


def pod(overlay: str = "cpu") -> Any:
    return find("Deployment", overlay)["spec"]["template"]["spec"]


def container(overlay: str = "cpu") -> Any:
    (only,) = pod(overlay)["containers"]
    return only


def settings(overlay: str = "cpu") -> Settings:
    """The settings that a pod has, without those of its Secret."""
    data = find("ConfigMap", overlay)["data"]
    given = {name.removeprefix("ZIGGURAT_").lower(): text for name, text in data.items() if "ZIGG" in name}
    assert set(given) <= set(Settings.model_fields)
    return Settings.model_validate(given)


@every_overlay
def test_kubernetes_takes_every_manifest(overlay: str) -> None:
    for manifest in RENDERED[overlay]:
        check(manifest)
    assert len(RENDERED[overlay]) == 9
    check(yaml.safe_load((K8S / "haproxy-controller.yaml").read_text()))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("spec", "template", "spec", "containers", 0, "readynessProbe"), {}),  # unknown
        (("spec", "template", "spec", "containers", 0, "read_only"), True),
        (("spec", "template", "spec", "containers", 0, "liveness_probe"), {}),  # Python's name for it
        (("spec", "template", "spec", "terminationGracePeriodSeconds"), "155"),  # wrong type
        (("spec", "template", "spec", "securityContext", "runAsNonRoot"), "true"),
        (("spec", "template", "spec", "containers", 0, "name"), None),  # required
        (("spec", "selector"), None),
        (("apiVersion",), "batch/v1"),
    ],
)
def test_a_broken_manifest_is_found(path: tuple[str | int, ...], value: object) -> None:
    broken = copy.deepcopy(find("Deployment"))
    at: Any = broken
    for step in path[:-1]:
        at = at[step]
    if value is None:
        del at[path[-1]]
    else:
        at[path[-1]] = value
    with pytest.raises((ValidationError, AssertionError, AttributeError)):
        check(broken)


@pytest.mark.parametrize(
    "folder", [*(K8S / "overlays" / name for name in OVERLAYS)], ids=lambda path: path.name
)
def test_kustomize_renders_the_same(folder: Path) -> None:
    """Where kubectl is; the overlays are what people apply."""
    if (kubectl := shutil.which("kubectl")) is None:
        return
    done = subprocess.run([kubectl, "kustomize", str(folder)], capture_output=True, text=True, check=True)

    def sorted_by_name(manifests: list[Manifest]) -> list[Manifest]:
        return sorted(manifests, key=lambda manifest: (manifest["kind"], manifest["metadata"]["name"]))

    assert sorted_by_name(list(yaml.safe_load_all(done.stdout))) == sorted_by_name(RENDERED[folder.name])


@pytest.mark.parametrize("folder", COMPONENTS, ids=lambda path: path.name)
def test_components_fit_an_overlay(folder: Path) -> None:
    made = render(folder, copy.deepcopy(RENDERED["cpu"]))
    kinds = [manifest["kind"] for manifest in made]
    assert len(kinds) == len(set(kinds))
    if folder.name == "keda":
        assert "HorizontalPodAutoscaler" not in kinds, "KEDA makes one of its own"


@every_overlay
def test_a_pod_is_given_the_time_that_it_takes_to_leave(overlay: str) -> None:
    chosen = settings(overlay)
    needs = grace_seconds(chosen) + supervisor.SLACK_SECONDS
    assert pod(overlay)["terminationGracePeriodSeconds"] >= needs
    annotations = {
        name.partition("/")[2]: text for name, text in find("Ingress")["metadata"]["annotations"].items()
    }
    assert _seconds(annotations["timeout-server"]) > chosen.request_timeout_seconds
    noticed = 3 * _seconds(annotations["check-interval"]) + _seconds(annotations["timeout-check"])
    assert chosen.drain_seconds >= noticed, "fall 3 is HAProxy's default"
    ready = container(overlay)["readinessProbe"]
    assert (
        chosen.drain_seconds >= ready["failureThreshold"] * ready["periodSeconds"] + ready["timeoutSeconds"]
    )
    balancer = {line.strip() for line in (ROOT / "docker/balancer/haproxy.cfg").read_text().splitlines()}
    assert {line.strip() for line in annotations["backend-config-snippet"].splitlines()} < balancer
    assert f"option httpchk {annotations['check-http']}" in balancer
    assert {
        f"balance {annotations['load-balance']}",
        f"timeout server {annotations['timeout-server']}",
    } < balancer
    controller = yaml.safe_load((K8S / "haproxy-controller.yaml").read_text())["data"]
    assert {f"{name.replace('-', ' ', 1)} {time}" for name, time in controller.items()} < balancer
    assert _seconds(controller["timeout-client"]) > chosen.body_timeout_seconds
    down = find("HorizontalPodAutoscaler", overlay)["spec"]["behavior"]["scaleDown"]
    assert down["policies"][0]["periodSeconds"] >= needs, "one leaves at a time"


def _seconds(text: str) -> float:
    number, unit = re.fullmatch(r"(\d+)(ms|s|m)", text).groups()  # type: ignore[union-attr]
    return int(number) * {"ms": 1e-3, "s": 1, "m": 60}[unit]


@every_overlay
def test_probes_ask_what_there_is_and_wait_for_the_models(overlay: str) -> None:
    asked = container(overlay)
    paths = {name: asked[name]["httpGet"]["path"] for name in asked if name.endswith("Probe")}
    assert paths == {"startupProbe": "/readyz", "readinessProbe": "/readyz", "livenessProbe": "/livez"}
    start = asked["startupProbe"]
    assert start["periodSeconds"] * start["failureThreshold"] >= 300
    (port,) = asked["ports"]
    assert port["containerPort"] == Settings.model_fields["port"].default
    assert {asked[name]["httpGet"]["port"] for name in paths} == {port["name"]}
    (served,) = find("Service", overlay)["spec"]["ports"]
    assert served["targetPort"] == port["name"]
    (rule,) = find("Ingress", overlay)["spec"]["rules"]
    backend = rule["http"]["paths"][0]["backend"]["service"]
    assert backend == {"name": find("Service", overlay)["metadata"]["name"], "port": {"name": served["name"]}}


@every_overlay
def test_pods_may_do_as_little_as_the_image_needs(overlay: str) -> None:
    user = re.search(r"^USER (\d+):(\d+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert user
    runs_as = pod(overlay)["securityContext"]
    assert runs_as["runAsNonRoot"]
    assert (runs_as["runAsUser"], runs_as["runAsGroup"]) == tuple(map(int, user.groups()))
    assert runs_as["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container(overlay)["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    mounts = {mount["name"]: mount["mountPath"] for mount in container(overlay)["volumeMounts"]}
    assert mounts == {"tmp": "/tmp"}
    assert {volume["name"] for volume in pod(overlay)["volumes"] if "emptyDir" in volume} == set(mounts)
    assert {"requests", "limits"} <= container(overlay)["resources"].keys()
    assert find("Namespace")["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


@every_overlay
def test_everything_selects_the_same_pods(overlay: str) -> None:
    deployment = find("Deployment", overlay)["spec"]
    labels = deployment["template"]["metadata"]["labels"]
    spread = [rule["labelSelector"] for rule in pod(overlay)["topologySpreadConstraints"]]
    selectors = [
        deployment["selector"],
        *spread,
        find("PodDisruptionBudget", overlay)["spec"]["selector"],
        find("NetworkPolicy", overlay)["spec"]["podSelector"],
        {"matchLabels": find("Service", overlay)["spec"]["selector"]},
    ]
    assert selectors == [{"matchLabels": labels}] * len(selectors)
    assert find("HorizontalPodAutoscaler", overlay)["spec"]["scaleTargetRef"]["name"] == "ziggurat"
    names = {source[kind]["name"] for source in container(overlay)["envFrom"] for kind in source}
    assert names == {"ziggurat"}


@every_overlay
def test_settings_suit_several_pods(overlay: str) -> None:
    chosen = settings(overlay)
    assert chosen.store.startswith("s3://"), "all pods share it"
    assert chosen.workers == 1 or chosen.device == "cpu"
    asks_for_gpu = "nvidia.com/gpu" in container(overlay)["resources"]["limits"]
    assert asks_for_gpu == (chosen.device == "cuda") == (overlay == "gpu")


def test_both_autoscalers_ask_for_a_metric_that_exists_at_a_tenth_of_what_a_pod_takes() -> None:
    spec = find("HorizontalPodAutoscaler")["spec"]
    (metric,) = spec["metrics"]
    name = metric["pods"]["metric"]["name"]
    assert name in {family.name for family in Metrics().registry.collect()}
    target = int(metric["pods"]["target"]["averageValue"].replace("M", "000000"))
    assert target == settings().max_queued_pixels // 10
    assert "replicas" not in find("Deployment")["spec"], "they are the autoscaler's"
    assert spec["minReplicas"] > find("PodDisruptionBudget")["spec"]["maxUnavailable"]

    scaled = yaml.safe_load((K8S / "components/keda/scaledobject.yaml").read_text())
    (trigger,) = scaled["spec"]["triggers"]
    assert set(trigger["metadata"]) == {"serverAddress", "query", "threshold"}
    assert f"sum({name}{{" in trigger["metadata"]["query"]
    assert int(trigger["metadata"]["threshold"]) == target
    assert scaled["spec"]["scaleTargetRef"] == {"name": "ziggurat"}
    counts = (scaled["spec"]["minReplicaCount"], scaled["spec"]["maxReplicaCount"])
    assert counts == (spec["minReplicas"], spec["maxReplicas"])

    (rule,) = yaml.safe_load((K8S / "components/prometheus-adapter/rules.yaml").read_text())["rules"][
        "custom"
    ]
    assert rule["name"]["as"] == name
    assert rule["seriesQuery"].startswith(f"{name}{{")
    assert rule["metricsQuery"].startswith("sum("), "a pod's workers together"
