"""Ray reads the variables that we set, and HAProxy's wrapper does what it says."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from ray.serve._private import constants

from service.cluster.environment import OF_NODES, OF_REPLICAS, of_nodes


def test_ray_knows_the_variables() -> None:
    """A name that Ray no longer reads would change nothing, and nobody would notice."""
    source = Path(constants.__file__).read_text()
    ours = {*of_nodes(), *OF_REPLICAS} - {"HAPROXY_BINARY"}
    assert {name for name in ours if f'"{name}"' not in source} == set()
    assert all(name.startswith("RAY_SERVE_") for name in OF_NODES)


def test_haproxys_own_errors_are_503_with_retry_after(tmp_path: Path) -> None:
    (tmp_path / "500.http").write_text("HTTP/1.1 500 Internal Server Error\r\n\r\n")
    wrapper = of_nodes()["RAY_SERVE_HAPROXY_BINARY_PATH"]
    done = subprocess.run(
        [wrapper, "-db", "-f", str(tmp_path / "haproxy.cfg"), "-x", "socket"],
        env=os.environ | {"HAPROXY_BINARY": "echo"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == f"-db -f {tmp_path}/haproxy.cfg -x socket\n"
    head, body = (tmp_path / "500.http").read_bytes().split(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert lines[0] == "HTTP/1.1 503 Service Unavailable"
    assert "Retry-After: 2" in lines
    assert "Content-Type: application/problem+json" in lines
    assert f"Content-Length: {len(body)}" in lines


def test_haproxy_is_there() -> None:
    """The bundled one, or a system's."""
    binary = of_nodes()["HAPROXY_BINARY"]
    assert subprocess.run([binary, "-v"], capture_output=True).returncode == 0
