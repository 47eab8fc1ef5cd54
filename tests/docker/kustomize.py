"""Kustomize as far as docker/k8s uses it: resources, components, patches, images, namespace."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

Manifest = dict[str, Any]
_CLUSTER_WIDE = {"Namespace"}
_KNOWN = {"apiVersion", "kind", "namespace", "resources", "components", "images", "patches"}


def render(folder: Path, manifests: list[Manifest] | None = None) -> list[Manifest]:
    """Render a kustomization; a component works on the manifests of whoever includes it.

    Raises:
        ValueError: it uses what is not known here, or a patch finds nothing.
    """
    rules = yaml.safe_load((folder / "kustomization.yaml").read_text())
    if unknown := set(rules) - _KNOWN:
        raise ValueError(f"{folder}: {unknown}")
    made = [] if manifests is None else manifests
    for name in rules.get("resources", ()):
        path = folder / name
        made += render(path) if path.is_dir() else list(yaml.safe_load_all(path.read_text()))
    for name in rules.get("components", ()):
        made = render(folder / name, made)
    for patch in rules.get("patches", ()):
        made = _patched(made, yaml.safe_load((folder / patch["path"]).read_text()))
    for image in rules.get("images", ()):
        _set_image(made, image)
    for manifest in made:
        if "namespace" in rules and manifest["kind"] not in _CLUSTER_WIDE:
            manifest["metadata"]["namespace"] = rules["namespace"]
    return made


def _patched(manifests: list[Manifest], patch: Manifest) -> list[Manifest]:
    (target,) = [
        manifest
        for manifest in manifests
        if (manifest["kind"], manifest["metadata"]["name"]) == (patch["kind"], patch["metadata"]["name"])
    ]
    if patch.get("$patch") == "delete":
        return [manifest for manifest in manifests if manifest is not target]
    _merge(target, patch)
    return manifests


def _merge(target: Manifest, patch: Manifest) -> None:
    """Merge as Kubernetes does: maps by key, lists of named things by name, other lists whole."""
    for key, value in patch.items():
        old = target.get(key)
        if isinstance(value, dict) and isinstance(old, dict):
            _merge(old, value)
        elif isinstance(value, list) and isinstance(old, list) and all("name" in each for each in value):
            for each in value:
                _merge(next(one for one in old if one["name"] == each["name"]), each)
        else:
            target[key] = value


def _set_image(manifests: list[Manifest], image: dict[str, str]) -> None:
    for manifest in manifests:
        if manifest["kind"] == "Deployment":
            for container in manifest["spec"]["template"]["spec"]["containers"]:
                if container["image"] == image["name"]:
                    container["image"] = f"{image['newName']}:{image['newTag']}"
