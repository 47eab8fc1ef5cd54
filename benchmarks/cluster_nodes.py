"""A Ray cluster of several nodes on this machine: an S3 server, and a balancer on each node.

Each node is a raylet with processes, cores and ports of its own. Import nothing of Ray before
`prepare`, as it reads its environment then.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import httpx2
import psutil

from service.cluster.environment import of_nodes

if TYPE_CHECKING:
    from ray._private.node import Node

STARTUP_SECONDS = 180.0
LEAVING_SECONDS = 3.0  # Ray's default is 30, for balancers that ask more seldom than these


@dataclass(frozen=True, slots=True)
class ReplicaFacts:
    """One running replica.

    Attributes:
        name: its id.
        pid: of its process.
        node: id of its node.
        url: where it answers itself, past the balancers.
    """

    name: str
    pid: int
    node: str
    url: str


def prepare(folder: Path, *, haproxy: bool, **settings: object) -> None:
    """Set the environment of the nodes to come.

    Args:
        folder: for whatever Ray and HAProxy write; its name must be short, for sockets.
        haproxy: whether HAProxy or Ray's Python proxy is the balancer.
        settings: of the service, without the prefix.
    """
    haproxy_folder = folder / "h"  # sockets have short names
    own = {
        "RAY_TMPDIR": str(folder),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "60",  # four nodes start on a few cores
        "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": str(LEAVING_SECONDS),
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": str(haproxy_folder / "haproxy.cfg"),
        "RAY_SERVE_HAPROXY_SOCKET_PATH": str(haproxy_folder / "admin.sock"),
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(haproxy_folder),
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": str(haproxy_folder / "state"),
        "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": str(haproxy_folder / "metrics.sock"),
        "AWS_ACCESS_KEY_ID": "nobody",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_REGION": "us-east-1",
        "AWS_ALLOW_HTTP": "true",
    }
    (folder / "ray").mkdir(parents=True)
    os.environ.update(of_nodes() if haproxy else {"RAY_SERVE_ENABLE_HA_PROXY": "0"})
    os.environ.update(own)
    for name, setting in ({"store": "s3://streams/cluster"} | settings).items():
        os.environ[f"ZIGGURAT_{name.upper()}"] = str(setting)


class Nodes:
    """A head without replicas, and nodes with one core each, which have room for one.

    Args:
        folder: as for `prepare`.
        count: of the nodes beside the head.

    Attributes:
        balancers: addresses of balancers, by the ids of their nodes, which are those with replicas.
    """

    def __init__(self, folder: Path, count: int) -> None:
        self._folder = folder
        self._count = count
        self._running = ExitStack()
        self._nodes: dict[str, Node] = {}
        self._urls: dict[str, str] = {}
        self.balancers: dict[str, str] = {}

    def __enter__(self) -> Self:
        with ExitStack() as starting:
            store = _Moto(self._folder / "moto.log")
            starting.callback(store.stop)
            os.environ["AWS_ENDPOINT_URL"] = store.url
            import ray
            from ray import serve
            from ray.cluster_utils import Cluster

            self._cluster = Cluster()
            starting.callback(self._cluster.shutdown)
            self._head = self._cluster.add_node(num_cpus=0, include_dashboard=False, env_vars=_ports())
            for _ in range(self._count):
                self._add()
            ray.init(address=self._cluster.address, namespace="serve", log_to_driver=False)
            starting.callback(ray.shutdown)
            serve.start(proxy_location="EveryNode", http_options={"host": "127.0.0.1", "port": free_port()})
            starting.callback(serve.shutdown)
            self._running = starting.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._running.close()

    def _add(self) -> None:
        port = free_port()
        ports = _ports() | {"RAY_SERVE_WORKER_PROXY_HTTP_PORT": str(port)}
        node = self._cluster.add_node(num_cpus=1, env_vars=ports)
        self._nodes[node.node_id] = node
        self._urls[node.node_id] = f"http://127.0.0.1:{port}"

    def kill(self, node_id: str) -> None:
        """Kill all processes of a node, as a loss of power would."""
        processes = self.processes(node_id)
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(processes, timeout=10)
        del self.balancers[node_id]
        self._cluster.remove_node(self._nodes.pop(node_id), allow_graceful=False)

    def processes(self, node_id: str | None = None) -> list[psutil.Process]:
        """List a node's processes; the head's for None."""
        node = self._head if node_id is None else self._nodes[node_id]
        own = []
        for group in node.all_processes.values():
            for started in group:
                with suppress(psutil.NoSuchProcess):
                    raylet = psutil.Process(started.process.pid)
                    own += [raylet, *raylet.children(recursive=True)]
        return own

    def deploy(self, **arguments: object) -> None:
        """Deploy the application, or change it, and wait until it runs."""
        from ray import serve

        from service.cluster.application import Arguments, app

        serve.run(app(Arguments.model_validate({"cpus": 1} | arguments)), name="ziggurat")
        self.find_balancers()

    def find_balancers(self) -> None:
        """Ask Ray which nodes have replicas: these have balancers."""
        self.balancers = {replica.node: self._urls[replica.node] for replica in self.replicas()}

    def replicas(self) -> list[ReplicaFacts]:
        """List the replicas that run."""
        from ray.serve.context import _get_global_client

        serving = _get_global_client()
        assert serving is not None
        details: dict[str, Any] = serving.get_serve_details()
        targets = {}
        for address in (self.balancers or {"": ""}).values():
            with suppress(httpx2.TransportError, ValueError):
                for entry in httpx2.get(f"{address}/metrics/replicas", timeout=10).json():
                    targets[entry["labels"]["replica"]] = f"http://{entry['targets'][0]}"
                break
        found = details["applications"]["ziggurat"]["deployments"]["Ziggurat"]["replicas"]
        return [
            ReplicaFacts(
                replica["replica_id"],
                replica["pid"],
                replica["node_id"],
                targets.get(replica["replica_id"], ""),
            )
            for replica in found
            if replica["state"] == "RUNNING"
        ]

    def balancer_processes(self, node_id: str | None) -> list[psutil.Process]:
        """List the processes of a node through which requests go."""
        return [
            process
            for process in self.processes(node_id)
            if process.name() == "haproxy" or "ProxyActor" in " ".join(process.cmdline())
        ]


class _Moto:
    """An S3 server in a process of its own, with the bucket `streams`."""

    def __init__(self, log: Path) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
        with log.open("wb") as output:
            self._process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        deadline = time.monotonic() + STARTUP_SECONDS
        while True:
            try:
                httpx2.put(f"{self.url}/streams").raise_for_status()
                return
            except httpx2.TransportError:
                if time.monotonic() > deadline or self._process.poll() is not None:
                    self.stop()
                    raise
                time.sleep(0.2)

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()


def free_port() -> int:
    """Return a port of this machine that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _ports() -> dict[str, str]:
    """Give a node's HAProxy its own ports: several share this machine."""
    names = ("RAY_SERVE_HAPROXY_STATS_PORT", "RAY_SERVE_HAPROXY_METRICS_PORT")
    return {name: str(free_port()) for name in names}
