"""Ray reads the variables that we set, and HAProxy's wrapper does what it says."""

from __future__ import annotations

import os
import subprocess
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


@pytest.fixture
def started(tmp_path: Path) -> Path:
    """The folder of an HAProxy that Ray's own template configures, after it was started."""
    configuration = tmp_path / "haproxy.cfg"
    configuration.write_text(HAPROXY_CONFIG_TEMPLATE)
    (tmp_path / "500.http").write_text("HTTP/1.1 500 Internal Server Error\r\n\r\n")
    done = subprocess.run(
        [of_nodes()["RAY_SERVE_HAPROXY_BINARY_PATH"], "-db", "-f", str(configuration), "-x", "socket"],
        env=os.environ | {"HAPROXY_BINARY": "echo"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == f"-db -f {configuration} -x socket\n"
    return tmp_path


def test_haproxys_own_errors_are_503_with_retry_after(started: Path) -> None:
    assert "errorfile 503 {{ config.error_file_path }}" in HAPROXY_CONFIG_TEMPLATE
    head, body = (started / "500.http").read_bytes().split(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert lines[0] == "HTTP/1.1 503 Service Unavailable"
    assert "Retry-After: 2" in lines
    assert "Content-Type: application/problem+json" in lines
    assert f"Content-Length: {len(body)}" in lines


def test_no_request_goes_over_a_connection_used_before(started: Path) -> None:
    """When it breaks there, HAProxy answers nothing."""
    rewritten = (started / "haproxy.cfg").read_text()
    assert "http-reuse always" in HAPROXY_CONFIG_TEMPLATE
    assert "http-reuse always" not in rewritten
    assert "    http-reuse never\n    option http-server-close\n" in rewritten


def test_haproxy_is_there() -> None:
    """The bundled one, or a system's."""
    binary = of_nodes()["HAPROXY_BINARY"]
    assert subprocess.run([binary, "-v"], capture_output=True).returncode == 0
