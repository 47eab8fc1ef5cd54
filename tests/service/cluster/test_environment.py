"""Ray reads the variables that we set, and HAProxy's wrapper does what it says."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from ray.serve._private import constants
from ray.serve._private.haproxy_templates import HAPROXY_CONFIG_TEMPLATE

from service.cluster.environment import OF_NODES, OF_REPLICAS, of_nodes


def test_ray_knows_the_variables() -> None:
    """A name that Ray no longer reads would change nothing, and nobody would notice."""
    source = Path(constants.__file__).read_text()
    ours = {*of_nodes(), *OF_REPLICAS} - {"HAPROXY_BINARY"}
    assert {name for name in ours if f'"{name}"' not in source} == set()
    assert all(name.startswith("RAY_SERVE_") for name in OF_NODES)


Start = Callable[[str], Path]


@pytest.fixture
def start(tmp_path: Path) -> Start:
    """Start HAProxy with a configuration, and give the folder with what was made of it."""

    def started(configuration: str) -> Path:
        path = tmp_path / "haproxy.cfg"
        path.write_text(configuration)
        (tmp_path / "500.http").write_text("HTTP/1.1 500 Internal Server Error\r\n\r\n")
        done = subprocess.run(
            [of_nodes()["RAY_SERVE_HAPROXY_BINARY_PATH"], "-db", "-f", str(path), "-x", "socket"],
            env=os.environ | {"HAPROXY_BINARY": "echo"},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout == f"-db -f {path} -x socket\n"
        return tmp_path

    return started


def test_haproxys_own_errors_are_503_with_retry_after(start: Start) -> None:
    assert "errorfile 503 {{ config.error_file_path }}" in HAPROXY_CONFIG_TEMPLATE
    head, body = (start("") / "500.http").read_bytes().split(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert lines[0] == "HTTP/1.1 503 Service Unavailable"
    assert "Retry-After: 2" in lines
    assert "Content-Type: application/problem+json" in lines
    assert f"Content-Length: {len(body)}" in lines


def test_no_request_goes_over_a_connection_used_before(start: Start) -> None:
    """When it breaks there, HAProxy answers nothing."""
    rewritten = (start(HAPROXY_CONFIG_TEMPLATE) / "haproxy.cfg").read_text()
    assert "http-reuse always" in HAPROXY_CONFIG_TEMPLATE
    assert "http-reuse always" not in rewritten
    assert "    http-reuse never\n    option http-server-close\n" in rewritten


def test_who_comes_before_haproxy_knows_the_application_is_told_to_come_back(start: Start) -> None:
    (unknown,) = re.findall(r"^ *http-request return status 404 .*$", HAPROXY_CONFIG_TEMPLATE, re.MULTILINE)
    folder = start(f"backend default_backend\n{unknown}\n")
    expected = f"    http-request return status 503 errorfile {folder}/500.http\n"
    assert (folder / "haproxy.cfg").read_text() == f"backend default_backend\n{expected}"


def test_what_is_not_the_applications_stays_404(start: Start) -> None:
    """Other applications may share the cluster."""
    configuration = "    use_backend other if is_other\n    http-request return status 404 string no\n"
    assert (start(configuration) / "haproxy.cfg").read_text() == configuration


def test_haproxy_is_there() -> None:
    """The bundled one, or a system's."""
    binary = of_nodes()["HAPROXY_BINARY"]
    assert subprocess.run([binary, "-v"], capture_output=True).returncode == 0
