"""The bill of materials in the wheel (PEP 770): CycloneDX, in `.dist-info/sboms/`.

It names what the wheel holds beside its own code, the weights. What it needs is in its metadata,
and what the tests and the image take of that in `constraints.txt` and `docker/*.lock`.
"""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

from setuptools.command.bdist_wheel import bdist_wheel


class BdistWheel(bdist_wheel):
    """Builds the wheel as setuptools does, and puts the bill of materials in it."""

    def write_wheelfile(self, wheelfile_base: str, *args: Any, **kwargs: Any) -> None:
        """Write the last file before the record of all files, and the bill of materials."""
        super().write_wheelfile(wheelfile_base, *args, **kwargs)
        sboms = Path(wheelfile_base) / "sboms"
        sboms.mkdir(exist_ok=True)
        found = bill(self.distribution.get_name(), self.distribution.get_version())
        (sboms / "ziggurat.cdx.json").write_text(json.dumps(found, indent=2) + "\n")


def bill(name: str, version: str) -> dict[str, Any]:
    """Make the bill of materials; equal files make an equal one."""
    reference = f"pkg:pypi/{name}@{version}"
    parts = [_weights(file) for file in sorted(Path("models/weights").rglob("*.safetensors"))]
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": _component("application", name, version, reference) | {"purl": reference}},
        "components": parts,
        "dependencies": [{"ref": reference, "dependsOn": [part["bom-ref"] for part in parts]}],
    }


def _weights(file: Path) -> dict[str, Any]:
    card = json.loads(file.with_suffix(".json").read_text())
    digest = {"alg": "SHA-256", "content": sha256(file.read_bytes()).hexdigest()}
    part = _component("machine-learning-model", file.stem, card["model_id"], file.as_posix())
    return part | {"hashes": [digest]}


def _component(kind: str, name: str, version: str, reference: str) -> dict[str, Any]:
    """Describe something of ours, under the project's licence."""
    return {
        "type": kind,
        "bom-ref": reference,
        "name": name,
        "version": version,
        "licenses": [{"license": {"id": "Apache-2.0"}}],
    }
