"""A real Prometheus, configured as shipped, watches a real server.

All that the dashboard and the alerts ask is answered.
"""

from __future__ import annotations

import io
import json
import math
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, get_args

import httpx2
import pytest
import yaml
from PIL import Image

from service.metrics import Stage
from tests.end_to_end.servers import Process, Server, free_address

DOCKER = Path(__file__).parents[2] / "docker"
RULES: list[dict[str, Any]] = [
    rule
    for group in yaml.safe_load((DOCKER / "prometheus" / "rules.yml").read_text())["groups"]
    for rule in group["rules"]
]
DASHBOARD = json.loads((DOCKER / "grafana" / "provisioning" / "dashboards" / "ziggurat.json").read_text())
PANELS = {
    f"{panel['title']} {target['legendFormat']}": target["expr"]
    for panel in DASHBOARD["panels"]
    for target in panel.get("targets", ())
}


class Prometheus(Process):
    """Prometheus as `docker/` sets it up, but on a free port, watching `target`, every second."""

    def __init__(self, program: str, folder: Path, target: str) -> None:
        configuration = yaml.safe_load((DOCKER / "prometheus" / "prometheus.yml").read_text())
        configuration["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
        configuration["rule_files"] = [str(DOCKER / "prometheus" / "rules.yml")]
        (scrape,) = configuration["scrape_configs"]
        del scrape["dns_sd_configs"]
        scrape["static_configs"] = [{"targets": [target]}]
        (folder / "prometheus.yml").write_text(yaml.safe_dump(configuration))
        address = free_address()
        command = [
            program,
            f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={folder / 'tsdb'}",
            f"--web.listen-address={address}",
        ]
        super().__init__(command, address, ready="/-/ready", log=folder / "prometheus.log")
        self._client = httpx2.Client(base_url=f"http://{address}/api/v1/", timeout=30)

    def __exit__(self, *_: object) -> None:
        self._client.close()
        super().__exit__()

    def api(self, path: str, **parameters: str) -> Any:
        """Ask the HTTP API; gives the `data` of its answer."""
        answer = self._client.get(path, params=parameters).json()
        assert answer["status"] == "success", answer
        return answer["data"]

    def values(self, query: str) -> list[float]:
        """The values that a query finds now, without NaN, which is the mean of nothing."""
        values = [float(series["value"][1]) for series in self.api("query", query=query)["result"]]
        return [value for value in values if not math.isnan(value)]

    def wait_for(self, query: str) -> None:
        """Return once a query finds something."""
        deadline = time.monotonic() + 60
        while not self.values(query):
            assert time.monotonic() < deadline, f"{query} finds nothing"
            time.sleep(0.2)


@pytest.fixture(scope="module")
def watched(
    installed: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory, photo: Image.Image
) -> Iterator[tuple[Server, Prometheus]]:
    """A server after requests of all kinds, and a Prometheus that has watched it from the start."""
    program = installed("prometheus")
    folder = tmp_path_factory.mktemp("prometheus")
    limits = {
        "ZIGGURAT_MAX_PIXELS": "100000",
        "ZIGGURAT_MAX_BODY_BYTES": "200000",
        "ZIGGURAT_STORE_MAX_BYTES": "1000000",
        "ZIGGURAT_DELETE_WITHOUT_KEYS": "true",
    }
    server = Server(folder, ZIGGURAT_MODELS="psnr", ZIGGURAT_PROFILE="psnr", **limits)
    with server, Prometheus(program, folder, server.address) as prometheus:
        prometheus.wait_for('up{job="ziggurat"} == 1')
        _use(server, photo)
        prometheus.wait_for("ziggurat_rate_missed_total > 0")
        requests = 'ziggurat_requests_total{route!="/metrics"}'
        prometheus.wait_for(f"sum({requests}) == sum({requests} offset 1s)")  # all have been scraped
        yield server, prometheus


def _use(server: Server, image: Image.Image) -> None:
    """Send requests that go well, miss their target, come in batches, or are wrong."""
    photo = _png(image)
    large = _png(image.resize((400, 300)))
    with httpx2.Client(base_url=f"http://{server.address}", timeout=60) as client:

        def compress(budget: str, body: bytes = photo) -> httpx2.Response:
            return client.post(f"/compress?{budget}", content=body, headers={"Content-Type": "image/png"})

        made = compress("bpp=0.8")
        assert made.status_code == 201
        assert compress("quality=40").status_code == 201
        assert compress("quality=40&effort=2").headers["Ziggurat-Effort"] == "2"
        assert compress("max_bytes=40").headers["Ziggurat-Target-Met"] == "false"
        with ThreadPoolExecutor(6) as users:
            assert {answer.status_code for answer in users.map(compress, ["bpp=0.5"] * 6)} == {201}
        picture = made.headers["Location"]
        stream = f"/bitstreams/{made.headers['ETag'].strip(chr(34))}"
        assert client.get(picture).status_code == 200
        assert client.post("/decompress", content=made.content).status_code == 200
        assert client.get(f"{stream}/info").status_code == 200
        assert client.delete(stream).status_code == 204
        assert client.get(picture).status_code == 404
        assert client.get("/nowhere").status_code == 404
        assert client.get("/" + 60_000 * "a").status_code == 414
        assert client.get(picture, headers={"Accept": "text/html"}).status_code == 406
        assert compress("bpp=1", large).status_code == 413
        assert compress("bpp=1", bytes(300_000)).status_code == 413
        assert compress("bpp=1", b"hello").status_code == 415
        assert compress("bpp=1", photo[:500]).status_code == 422
        assert compress("bpp=1&max_bytes=1").status_code == 422
        assert client.post("/decompress", content=made.content[:-1]).status_code == 422


def _png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def test_promtool_finds_no_fault_with_the_metrics(
    watched: tuple[Server, Prometheus], installed: Callable[[str], str]
) -> None:
    metrics = httpx2.get(f"http://{watched[0].address}/metrics").content
    done = subprocess.run(
        [installed("promtool"), "check", "metrics"], input=metrics, capture_output=True, timeout=60
    )
    assert done.returncode == 0, done.stderr.decode()


def test_every_panel_shows_something(watched: tuple[Server, Prometheus]) -> None:
    _, prometheus = watched
    assert [
        name
        for name, query in PANELS.items()
        if not prometheus.values(query.replace("$__rate_interval", "1m"))
    ] == []


def test_every_stage_of_the_work_is_timed(watched: tuple[Server, Prometheus]) -> None:
    _, prometheus = watched
    assert len(prometheus.values("ziggurat_stage_duration_seconds_count > 0")) == len(get_args(Stage))
    assert len(prometheus.values("ziggurat_entropy_symbols_total > 0")) == 2


def test_every_rule_is_evaluated_and_looks_at_something(watched: tuple[Server, Prometheus]) -> None:
    _, prometheus = watched
    for rule in RULES:
        looked_at, limits = re.subn(r"\s*(==|<|>)\s*[\d.]+\s*$", "", rule["expr"])
        assert limits == 1, rule["expr"]
        assert prometheus.values(looked_at), rule["alert"]
    prometheus.wait_for('ALERTS{alertname="ZigguratRateTargetsMissed"}')  # one stream in eight
    (group,) = prometheus.api("rules")["groups"]
    assert {(rule["health"], rule.get("lastError", "")) for rule in group["rules"]} == {("ok", "")}
    states = {rule["name"]: rule["state"] for rule in group["rules"]}
    assert {states[f"Ziggurat{name}"] for name in ("Down", "DeviceDown", "Errors", "StoreErrors")} == {
        "inactive"
    }


def test_a_server_that_dies_is_noticed(watched: tuple[Server, Prometheus]) -> None:
    server, prometheus = watched  # the last test: nobody needs the server any more
    server.stop()
    prometheus.wait_for('ALERTS{alertname="ZigguratDown", alertstate="pending"}')
