"""A real Ray cluster of one node, started by the one command, with HAProxy and one replica."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx2
import psutil
import pytest
import yaml
from PIL import Image

from tests.end_to_end.servers import Process, free_address

ROOT = Path(__file__).parents[2]
ADMITTED = 2
# `serve run`, without the ten processes of Ray's dashboard.
SERVE_RUN = """
import ray
from ray.serve.scripts import cli
ray.init(namespace="serve", num_cpus=1, include_dashboard=False, object_store_memory=80_000_000)
cli()
"""


class Cluster:
    """serve.yaml as shipped, but on a free port, with one replica and a store in a directory."""

    def __init__(self, folder: Path) -> None:
        self.address = free_address()
        self.url = f"http://{self.address}"
        self.folder = folder
        configuration = yaml.safe_load((ROOT / "docker" / "ray" / "serve.yaml").read_text())
        configuration["http_options"] |= {
            "host": "127.0.0.1",
            "port": int(self.address.rpartition(":")[2]),
        }
        configuration["applications"][0]["args"] = {"cpus": 1, "shared_directory": True}
        (folder / "serve.yaml").write_text(yaml.safe_dump(configuration))
        ports = ("RAY_SERVE_HAPROXY_STATS_PORT", "RAY_SERVE_HAPROXY_METRICS_PORT")
        environment = {
            "PYTHONPATH": str(ROOT),
            "RAY_TMPDIR": str(folder),
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "60",  # 5 s are too few on a busy machine
            "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "1",
            "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": str(folder / "h" / "haproxy.cfg"),
            "RAY_SERVE_HAPROXY_SOCKET_PATH": str(folder / "h" / "admin.sock"),
            "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(folder / "h"),
            "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": str(folder / "h" / "state"),
            "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": str(folder / "h" / "metrics.sock"),
            "ZIGGURAT_STORE": str(folder / "store"),
            "ZIGGURAT_MODELS": "psnr",
            "ZIGGURAT_PROFILE": "psnr",
            "ZIGGURAT_MAX_QUEUED_REQUESTS": str(ADMITTED),
            **{name: free_address().rpartition(":")[2] for name in ports},
        }
        (folder / "ray").mkdir()
        program = [sys.executable, "-c", SERVE_RUN, "run", str(folder / "serve.yaml")]
        command = [sys.executable, "-m", "service.cluster", *program]
        with (folder / "log").open("wb") as log:
            self.process = subprocess.Popen(
                command,
                cwd=folder,
                env={name: text for name, text in os.environ.items() if name != "RAY_ADDRESS"} | environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def wait_until_ready(self) -> list[httpx2.Response]:
        """Ask /readyz until it is green; gives the other answers on the way."""
        answers: list[httpx2.Response] = []
        deadline = time.monotonic() + 150
        while time.monotonic() < deadline and self.process.poll() is None:
            with suppress(httpx2.ConnectError):
                answers.append(httpx2.get(f"{self.url}/readyz", timeout=60))
                if answers[-1].status_code == 200:
                    return answers[:-1]
            time.sleep(0.1)
        pytest.fail(f"the cluster is not ready:\n{(self.folder / 'log').read_text()[-3000:]}")

    def replica(self) -> psutil.Process:
        (found,) = [
            process
            for process in psutil.Process(self.process.pid).children(recursive=True)
            if process.name().startswith("ray::ServeRepli")
        ]
        return found

    def compress(self, body: bytes, query: str = "bpp=0.5") -> httpx2.Response:
        return httpx2.post(f"{self.url}/compress?{query}", content=body, timeout=60)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    # Paths of sockets are short: pytest's own folders are too deep for Ray's and HAProxy's.
    with tempfile.TemporaryDirectory(prefix="zgt-", ignore_cleanup_errors=True) as folder:
        cluster = Cluster(Path(folder))
        try:
            cluster.wait_until_ready()
            yield cluster
        finally:
            with suppress(psutil.NoSuchProcess):  # it has ended
                for process in psutil.Process(cluster.process.pid).children(recursive=True):
                    with suppress(psutil.NoSuchProcess):
                        process.kill()
            cluster.process.kill()
            cluster.process.wait()


@pytest.fixture(scope="module")
def png(photo: Image.Image) -> bytes:
    file = io.BytesIO()
    photo.save(file, "PNG")
    return file.getvalue()


def test_the_whole_app_is_there(cluster: Cluster, png: bytes) -> None:
    made = cluster.compress(png)
    assert made.status_code == 201
    assert made.headers["Ziggurat-Target-Met"] == "true"
    assert len(made.headers.get_list("X-Request-ID")) == 1
    assert httpx2.get(f"{cluster.url}{made.headers['Location']}", timeout=60).status_code == 200
    missing = httpx2.get(f"{cluster.url}/decompress/{'0' * 64}")
    assert (missing.status_code, missing.headers["Content-Type"]) == (404, "application/problem+json")


def test_too_much_is_429_at_once_and_waits_in_no_queue_of_rays(cluster: Cluster, png: bytes) -> None:
    with ThreadPoolExecutor(12) as users:
        answers = list(users.map(cluster.compress, [png] * 12, [f"quality={20 + n}" for n in range(12)]))
    assert {answer.status_code for answer in answers} == {201, 429}
    assert all(answer.headers["Retry-After"].isdecimal() for answer in answers if answer.status_code == 429)


def test_prometheus_finds_every_replica(
    cluster: Cluster, installed: Callable[[str], str], tmp_path: Path
) -> None:
    """By the configuration as shipped, under the names that the dashboard asks for."""
    configuration = yaml.safe_load((ROOT / "docker" / "ray" / "prometheus.yml").read_text())
    configuration["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    configuration["rule_files"] = [str(ROOT / "docker" / "prometheus" / "rules.yml")]
    (discovery,) = configuration["scrape_configs"][0]["http_sd_configs"]
    discovery["url"] = f"{cluster.url}/metrics/replicas"
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(configuration))
    address = free_address()
    command = [
        installed("prometheus"),
        f"--config.file={tmp_path / 'prometheus.yml'}",
        f"--storage.tsdb.path={tmp_path / 'tsdb'}",
        f"--web.listen-address={address}",
    ]
    with Process(command, address, ready="/-/ready", log=tmp_path / "log"):
        (listed,) = httpx2.get(f"{cluster.url}/metrics/replicas").json()
        deadline = time.monotonic() + 60
        found: list[Any] = []
        while not found and time.monotonic() < deadline:
            query = {"query": 'ziggurat_requests_total{job="ziggurat", route="/compress", status="201"}'}
            answer = httpx2.get(f"http://{address}/api/v1/query", params=query)
            found = answer.json()["data"]["result"]
            time.sleep(0.2)
        (series,) = found
        assert series["metric"]["replica"] == listed["labels"]["replica"]
        assert float(series["value"][1]) > 1


def test_a_killed_replica_takes_its_children_along_and_is_replaced(cluster: Cluster) -> None:
    replica = cluster.replica()
    children = replica.children(recursive=True)
    assert children
    replica.kill()
    refusals = cluster.wait_until_ready()
    assert {answer.status_code for answer in refusals} <= {503}
    assert all(answer.headers["Retry-After"].isdecimal() for answer in refusals)
    _, left = psutil.wait_procs(children, timeout=10)
    assert left == []


def test_ctrl_c_ends_all_of_it(cluster: Cluster) -> None:
    """The last test: nobody needs the cluster any more."""
    processes = psutil.Process(cluster.process.pid).children(recursive=True)
    cluster.process.send_signal(signal.SIGINT)
    cluster.process.wait(60)
    _, left = psutil.wait_procs(processes, timeout=20)
    assert [process.name() for process in left] == []
