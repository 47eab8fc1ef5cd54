"""service.bulk.cluster: a real Ray cluster, a real S3 server, and real kills."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import pyarrow.parquet as pq
import pytest
from obstore.store import S3Store
from PIL import Image

ROOT = Path(__file__).parents[3]
COUNT = 20


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 120
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except OSError:
            assert process.poll() is None, "it did not start"
            assert time.monotonic() < deadline, "it did not listen"
            time.sleep(0.05)


class Site(NamedTuple):
    """A cluster and a bucket server.

    Attributes:
        environment: of programs that use them.
        raylet: process that has all of Ray's as descendants.
        requests: log of the bucket server.
    """

    environment: dict[str, str]
    raylet: psutil.Process
    requests: Path

    def bucket(self, name: str) -> S3Store:
        return S3Store(
            name,
            access_key_id="tests",
            secret_access_key="tests",
            region="us-east-1",
            endpoint=self.environment["AWS_ENDPOINT_URL"],
            client_options={"allow_http": True},
        )

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """The command, its JSON lines on a pipe."""
        command = [sys.executable, "-c", "from service.cli import main; main()", "compress", *arguments]
        return subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=self.environment
        )

    def actors(self) -> list[psutil.Process]:
        found = []
        for process in self.raylet.children(recursive=True):
            with suppress(psutil.Error):  # it has left meanwhile
                if "MapWorker" in " ".join(process.cmdline()):
                    found.append(process)
        return found


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """Both start at the same time. In a short path: Ray's sockets are in it."""
    folder = Path(tempfile.mkdtemp(prefix="zr"))
    bucket_port, ray_port = free_port(), free_port()
    environment = os.environ | {
        "AWS_ACCESS_KEY_ID": "tests",
        "AWS_SECRET_ACCESS_KEY": "tests",
        "AWS_REGION": "us-east-1",
        "AWS_ALLOW_HTTP": "true",
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{bucket_port}",
        "PYTHONPATH": str(ROOT),
        "RAY_ADDRESS": f"127.0.0.1:{ray_port}",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
    }
    requests = folder / "requests"
    ray = [sys.executable, "-c", "from ray.scripts.scripts import main; main()", "start", "--head", "--block"]
    ray += [f"--port={ray_port}", f"--temp-dir={folder}", "--num-cpus=2", "--include-dashboard=false"]
    ray += ["--object-store-memory=100000000", "--disable-usage-stats"]
    with requests.open("wb") as log:
        moto = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(bucket_port)]
        bucket = subprocess.Popen(moto, stdout=subprocess.DEVNULL, stderr=log)
        head = subprocess.Popen(
            ray, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment, start_new_session=True
        )
    try:
        wait_for(bucket_port, bucket)
        wait_for(ray_port, head)
        yield Site(environment, psutil.Process(head.pid), requests)
    finally:
        for process in psutil.Process(head.pid).children(recursive=True):
            process.kill()
        head.kill()
        bucket.kill()
        head.wait()
        bucket.wait()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def pictures(site: Site, photo: Image.Image, tmp_path: Path) -> set[str]:
    """Their addresses; the bucket `streams` is empty."""
    for name in ("pictures", "streams"):
        url = f"{site.environment['AWS_ENDPOINT_URL']}/{name}"
        urllib.request.urlopen(urllib.request.Request(url, method="PUT")).close()
    bucket = site.bucket("pictures")
    names = set()
    for number in range(COUNT):
        path = tmp_path / "picture.png"
        photo.rotate(18 * number).save(path)
        names.add(f"deep/{number}.png")
        bucket.put(f"deep/{number}.png", path.read_bytes())
    bucket.put("poisoned.png", path.read_bytes()[:500])
    return {f"s3://pictures/{name}" for name in (*names, "poisoned.png")}


def manifest(site: Site, name: str = "manifest.parquet") -> list[dict[str, Any]]:
    import pyarrow as pa

    content = bytes(site.bucket("streams").get(name).bytes())
    rows: list[dict[str, Any]] = pq.read_table(pa.BufferReader(content)).to_pylist()
    return rows


def lines(process: subprocess.Popen[str]) -> Iterator[dict[str, Any]]:
    assert process.stdout is not None
    for line in process.stdout:
        assert line.startswith("{"), line
        yield json.loads(line)


def test_a_job_killed_twice_on_the_way_does_each_picture_once(site: Site, pictures: set[str]) -> None:
    job = ("s3://pictures/", "-o", "s3://streams/", "--engine", "ray", "--bpp", "0.5", "--json")
    first = site.start(*job)
    for _ in zip(range(3), (line for line in lines(first) if line.get("status") == "done"), strict=False):
        pass
    first.send_signal(signal.SIGKILL)
    first.communicate()
    deadline = time.monotonic() + 60
    while site.actors():  # they leave when Ray sees that their driver is gone
        assert time.monotonic() < deadline
        time.sleep(0.1)
    finished = sum(len(manifest(site, name)) for name in parts(site))
    assert 3 <= finished < COUNT

    second = site.start(*job)
    for line in lines(second):
        if line.get("status") == "done":
            break
    (actor,) = site.actors()
    actor.kill()
    told = list(lines(second))
    _, stderr = second.communicate(timeout=120)

    assert second.returncode == 1, stderr
    assert f"{COUNT + 1 - finished} to do, {finished} done before" in stderr
    assert told[-1]["summary"]["done"] == COUNT
    progress = [line["progress"] for line in told if "progress" in line]
    assert progress[-1]["done"] == progress[-1]["of"] == COUNT + 1 - finished
    assert progress[-1]["images_per_second"] > 0
    rows = manifest(site)
    assert {row["source"] for row in rows} == pictures
    assert Counter(row["source"] for row in rows).most_common(1)[0][1] == 1
    assert {row["problem"] for row in rows if row["status"] != "done"} == {"damaged-image"}
    ids = {row["id"] for row in rows if row["status"] == "done"}
    assert len(ids) == COUNT
    every = [row["source"] for name in parts(site) for row in manifest(site, name)]
    assert sorted(every) == sorted(pictures)  # no picture was done by two
    written = re.findall(r'"PUT /streams/../(\w+)\.zgt\S* HTTP/1\.1" 200', site.requests.read_text())
    assert Counter(written) == dict.fromkeys(ids, 1)


def parts(site: Site) -> list[str]:
    return [found["path"] for page in site.bucket("streams").list("journal/rows") for found in page]


def test_tables_go_through_functions_and_failures_come_back_typed(site: Site) -> None:
    program = """
import pyarrow as pa, pyarrow.compute as pc
from service.bulk import BulkError
from service.bulk.cluster import connected
def times(table, factor):
    return pa.table({"x": pc.multiply(table["x"], factor)})
def fails(table):
    raise BulkError("the output fails")
if __name__ == "__main__":
    blocks = [pa.table({"x": [number]}) for number in range(5)]
    with connected() as cluster:
        print(cluster.share("cpu"))
        print(sorted(x for table in cluster.map(blocks, times, 3) for x in table["x"].to_pylist()))
        print(list(cluster.map([], times, 3)))
        for attempt in (lambda: list(cluster.map(blocks, fails)), lambda: cluster.share("cuda")):
            try:
                attempt()
            except BulkError as error:
                print(error)
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, env=site.environment
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "Share(actors=1, cores=2, gpus=0)",
        "[0, 3, 6, 9, 12]",
        "[]",
        "the output fails",
        "the Ray cluster has no GPU; --device cpu uses its cores",
    ]
