"""Dockerfile and docker-compose.yml agree with the repository and the settings.

`docker/check.sh` builds the image and runs it.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import yaml

from service.cli import app
from service.server import grace_seconds
from service.settings import Settings

ROOT = Path(__file__).parents[1]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]
OURS = ("ziggurat", "ziggurat-gpu", "replica")
BALANCER = (ROOT / "docker" / "balancer" / "haproxy.cfg").read_text()


def test_what_the_dockerfile_copies_exists_and_is_not_ignored() -> None:
    rules = [
        line
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line and not line.startswith("#")
    ]
    copied = {
        source
        for line in re.findall(r"^COPY (?!--from)(.*)$", DOCKERFILE, re.MULTILINE)
        for source in line.split()[:-1]
    }

    assert rules[0] == "*"
    assert copied == {rule[1:] for rule in rules if rule.startswith("!")}
    for source in copied:
        assert (ROOT / source).exists()
        assert not any(fnmatch(source, rule) for rule in rules[1:] if not rule.startswith("!"))


def test_the_image_sets_settings_that_exist_and_checks_its_health_by_a_command_that_exists() -> None:
    commands = {
        command.name or command.callback.__name__ for command in app.registered_commands if command.callback
    }

    assert (
        {name.lower() for name in re.findall(r"\bZIGGURAT_([A-Z_]+)=", DOCKERFILE)}
        == {"host", "store"}
        <= set(Settings.model_fields)
    )
    assert re.search(r'HEALTHCHECK .*CMD \["ziggurat", "(\w+)"\]', DOCKERFILE)
    assert set(re.findall(r'"ziggurat", "(\w+)"|^CMD \["(\w+)"\]', DOCKERFILE, re.MULTILINE)) == {
        ("health", ""),
        ("", "serve"),
    }
    assert {"health", "serve"} <= commands


def test_the_image_is_pinned_and_runs_as_nobody_in_particular() -> None:
    assert re.search(r"^ARG BASE=\S+@sha256:[0-9a-f]{64}$", DOCKERFILE, re.MULTILINE)
    assert set(re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)) == {"${BASE}"}
    assert re.search(r"^USER [1-9]\d+:[1-9]\d+$", DOCKERFILE, re.MULTILINE)
    assert re.search(r"^VOLUME /data$", DOCKERFILE, re.MULTILINE)


@pytest.mark.parametrize("name", SERVICES)
def test_services_are_hardened_pinned_and_limited(name: str) -> None:
    service = SERVICES[name]

    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert {"cpus", "memory"} <= service["deploy"]["resources"]["limits"].keys()
    assert "build" in service or re.search(
        r":v?\d+\.\d+\.\d+(-alpine)?@sha256:[0-9a-f]{64}$", service["image"]
    )


def test_every_package_in_the_image_has_a_known_hash() -> None:
    installs = re.findall(r"pip install (?:[^\\\n]|\\\n)*", DOCKERFILE)

    assert len(installs) == 2
    assert "--require-hashes --only-binary :all:" in installs[0]
    assert '-r requirements.lock -r "${torch}"' in installs[0]
    assert "--no-deps --no-build-isolation ." in installs[1], "ours alone"


@pytest.mark.parametrize(
    ("index", "lock"),
    [
        ("https://download.pytorch.org/whl/cpu", "torch-cpu.lock"),
        ("", "torch-cpu.lock"),
        (SERVICES["ziggurat-gpu"]["build"]["args"]["TORCH_INDEX"], "torch-cuda.lock"),
    ],
)
def test_the_build_of_pytorch_decides_on_its_lock(index: str, lock: str) -> None:
    (choice,) = re.findall(r"^RUN (case .* esac)", DOCKERFILE, re.MULTILINE)
    command = ["sh", "-c", f'{choice}; echo "${{torch}}"']

    assert subprocess.check_output(command, env={"TORCH_INDEX": index}, text=True) == f"{lock}\n"


def test_nobody_but_this_machine_reaches_what_the_documentation_publishes() -> None:
    pages = (ROOT / "README.md", *(ROOT / "docs").rglob("*.md"))
    published = [port for page in pages for port in re.findall(r"docker run .*?-p (\S+)", page.read_text())]

    assert published
    assert {port.split(":")[0] for port in published} == {"127.0.0.1"}


def test_the_service_keeps_its_default_quota() -> None:
    for name in OURS:
        assert "ZIGGURAT_STORE_MAX_BYTES" not in SERVICES[name].get("environment", {}), (
            "it would bind a bucket too"
        )


def test_nobody_knows_grafanas_password_unless_it_is_given() -> None:
    grafana = SERVICES["grafana"]
    assert grafana["environment"]["GRAFANA_PASSWORD"] == "${GRAFANA_PASSWORD:-}"
    assert "GF_SECURITY_ADMIN_PASSWORD" not in grafana["environment"]
    (script,) = (line.replace("$$", "$") for line in grafana["command"])
    assert script.count("/run.sh") == 1

    def password(given: str) -> str:
        shown = script.replace("/run.sh", "printenv GF_SECURITY_ADMIN_PASSWORD")
        environment = {"PATH": os.environ["PATH"], "GRAFANA_PASSWORD": given}
        command = [*grafana["entrypoint"], shown]
        return subprocess.check_output(command, env=environment, text=True).rstrip("\n")

    assert password("of my own $HOME") == "of my own $HOME"
    assert len(password("")) == 32
    assert password("") != password("")


@pytest.mark.parametrize("name", SERVICES)
def test_what_is_mounted_exists(name: str) -> None:
    for volume in SERVICES[name]["volumes"]:
        source = volume.split(":")[0]
        assert (ROOT / source).exists() if source.startswith(".") else source in COMPOSE["volumes"], volume


def test_ports_agree() -> None:
    port = Settings.model_fields["port"].default
    prometheus = yaml.safe_load((ROOT / "docker/prometheus/prometheus.yml").read_text())
    (job,) = prometheus["scrape_configs"]
    (asked,) = job["dns_sd_configs"]
    datasources = yaml.safe_load(
        (ROOT / "docker/grafana/provisioning/datasources/prometheus.yaml").read_text()
    )["datasources"]

    reached = [SERVICES[name]["ports"] for name in ("ziggurat", "ziggurat-gpu", "balancer")]
    assert reached == [[f"127.0.0.1:{port}:{port}"]] * 3
    assert not SERVICES["replica"]["ports"]
    assert f"EXPOSE {port}" in DOCKERFILE
    assert (asked["names"], asked["type"], asked["port"]) == (["ziggurat"], "A", port)
    for name in ("ziggurat-gpu", "replica"):
        assert "ziggurat" in SERVICES[name]["networks"]["default"]["aliases"]
    assert {source["url"] for source in datasources} == {
        f"http://prometheus:{SERVICES['prometheus']['ports'][0].split(':')[-1]}"
    }


def test_the_rules_and_dashboards_that_are_mounted_are_those_that_are_read() -> None:
    prometheus = yaml.safe_load((ROOT / "docker/prometheus/prometheus.yml").read_text())
    mounted = {volume.split(":")[1] for volume in SERVICES["prometheus"]["volumes"]}

    assert {f"/etc/prometheus/{rules}" for rules in prometheus["rule_files"]} <= mounted


@pytest.mark.parametrize("name", OURS)
def test_what_was_accepted_is_answered_before_the_container_is_killed(name: str) -> None:
    grace = int(SERVICES[name]["stop_grace_period"].removesuffix("s"))
    settings = {
        key.removeprefix("ZIGGURAT_").lower(): text
        for key, text in SERVICES[name].get("environment", {}).items()
    }

    assert grace >= grace_seconds(Settings.model_validate(settings))


def test_the_balancer_finds_the_replicas_and_waits_as_long_as_they_do() -> None:
    def seconds(pattern: str) -> int:
        (found,) = re.findall(rf"^ +{pattern} (\d+)s?\b", BALANCER, re.MULTILINE)
        return int(found)

    port = Settings.model_fields["port"].default
    assert re.search(rf"^ +server-template \S+ \d+ replica:{port} ", BALANCER, re.MULTILINE)
    assert re.search(rf"^ +bind :{port}$", BALANCER, re.MULTILINE)
    assert SERVICES["replica"]["profiles"] == SERVICES["balancer"]["profiles"] == ["replicas"]
    assert SERVICES["balancer"]["depends_on"] == ["replica"], "it is what people name"
    assert seconds("timeout server") > Settings.model_fields["request_timeout_seconds"].default
    assert seconds("timeout client") > Settings.model_fields["body_timeout_seconds"].default
    assert "shutdown-sessions" not in BALANCER, "a replica that drains is down"
    noticed = 3 * seconds("default-server check inter") + seconds("timeout check")
    assert int(SERVICES["replica"]["environment"]["ZIGGURAT_DRAIN_SECONDS"]) >= noticed
    if haproxy := shutil.which("haproxy"):
        subprocess.run([haproxy, "-c", "-f", ROOT / "docker" / "balancer" / "haproxy.cfg"], check=True)


def test_the_gpu_is_asked_for() -> None:
    (device,) = SERVICES["ziggurat-gpu"]["deploy"]["resources"]["reservations"]["devices"]

    assert "gpu" in device["capabilities"]
    assert SERVICES["ziggurat-gpu"]["environment"]["ZIGGURAT_DEVICE"] == "cuda"
    assert "cpu" not in SERVICES["ziggurat-gpu"]["build"]["args"]["TORCH_INDEX"]
