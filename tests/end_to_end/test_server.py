"""The first minutes of a user with curl, against a real server process.

Those of a user of the command line are in `tests/service/cli`.
"""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

from models.bitstream import Bitstream
from tests.end_to_end.servers import Server

Curl = Callable[..., str]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, photo: Image.Image) -> Path:
    folder = tmp_path_factory.mktemp("first-minutes")
    photo.save(folder / "photo.jpg", quality=95)
    return folder


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Server]:
    with Server(folder) as server:
        yield server


@pytest.fixture
def curl(server: Server, folder: Path) -> Curl:
    """curl as a user types it, in the folder of photo.jpg; `localhost:8000` is the server."""

    def run(*arguments: str) -> str:
        words = [word.replace("localhost:8000", server.address) for word in arguments]
        done = subprocess.run(
            ["curl", "-sS", "--fail-with-body", *words],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


def test_the_first_minutes(curl: Curl, folder: Path) -> None:
    photo = ["--data-binary", "@photo.jpg", "-H", "Content-Type: image/jpeg"]
    headers = curl(*photo, "localhost:8000/compress?bpp=0.5", "-D-", "-o", "photo.zgt")
    assert headers.startswith("HTTP/1.1 201")
    assert "ziggurat-target-met: " in headers
    assert 8 * (folder / "photo.zgt").stat().st_size <= 0.5 * 128 * 96

    curl("-F", "file=@photo.jpg", "localhost:8000/compress?max_bytes=800&profile=psnr", "-o", "photo.zgt")
    assert (folder / "photo.zgt").stat().st_size <= 800

    query = "localhost:8000/compress?bpp=2&report=psnr,ms-ssim"
    facts = json.loads(curl("-F", "file=@photo.jpg", "-H", "Accept: application/json", query))
    assert facts["psnr"] > 15
    assert facts["ms_ssim"] > 0.5

    curl(f"localhost:8000/decompress/{facts['id']}", "-o", "photo.png")
    curl("-H", "Accept: image/webp", f"localhost:8000/decompress/{facts['id']}", "-o", "photo.webp")
    for name, expected in {"photo.png": "PNG", "photo.webp": "WEBP"}.items():
        with Image.open(folder / name) as image:
            assert (image.format, image.size) == (expected, (128, 96))

    curl(
        "--data-binary",
        "@photo.zgt",
        "-H",
        "Content-Type: image/vnd.ziggurat",
        "localhost:8000/decompress",
        "-o",
        "photo.png",
    )
    with Image.open(folder / "photo.png") as image:
        assert image.size == (128, 96)

    assert 'ziggurat_requests_total{method="POST",route="/compress",status="201"} 3.0' in curl(
        "localhost:8000/metrics"
    )


def test_hybrid_and_auto_come_back_too(curl: Curl, folder: Path) -> None:
    for codec in ("hybrid", "auto"):
        query = f"localhost:8000/compress?bpp=1&profile=psnr&codec={codec}"
        headers = curl(
            "--data-binary", "@photo.jpg", "-H", "Content-Type: image/jpeg", query, "-D-", "-o", "either.zgt"
        )
        told = dict(line.split(": ", 1) for line in headers.splitlines() if ": " in line)
        stream = Bitstream.parse((folder / "either.zgt").read_bytes())
        assert told["ziggurat-codec"] == stream.codec.name.lower()
        assert (codec == "auto") == ("ziggurat-auto" in told)
        assert 8 * (folder / "either.zgt").stat().st_size <= 128 * 96
        curl(
            "--data-binary",
            "@either.zgt",
            "-H",
            "Content-Type: image/vnd.ziggurat",
            "localhost:8000/decompress",
            "-o",
            "either.png",
        )
        with Image.open(folder / "either.png") as back, Image.open(folder / "photo.jpg") as photo:
            assert np.square(np.asarray(back, float) - np.asarray(photo, float)).mean() < 200
    assert {"codec", "hybrid"} <= {model["kind"] for model in json.loads(curl("localhost:8000/models"))}


def test_a_body_over_the_limit_is_answered_before_it_is_sent(server: Server, folder: Path) -> None:
    with (folder / "zeros").open("wb") as file:
        file.truncate(20_000_000)
    for sent in (
        ["--data-binary", "@zeros"],
        ["-H", "Transfer-Encoding: chunked", "--data-binary", "@zeros"],
    ):
        words = ["curl", "-sS", *sent, "-H", "Content-Type: image/png", f"{server.address}/compress?bpp=1"]
        problem = json.loads(
            subprocess.run(words, cwd=folder, capture_output=True, timeout=120, check=True).stdout
        )
        assert problem["type"] == "urn:problem-type:ziggurat:body-too-large"


def test_a_drain_under_load_says_so_first_refuses_then_and_drops_nothing(
    folder: Path, tmp_path: Path
) -> None:
    photo = (folder / "photo.jpg").read_bytes()
    refused_at: list[float] = []
    statuses: Counter[int] = Counter()

    def load(address: str) -> None:
        while True:
            connection = HTTPConnection(address, timeout=60)
            try:
                connection.request("POST", "/compress?bpp=0.5", photo, {"Content-Type": "image/jpeg"})
                answer = connection.getresponse()
                body = answer.read()
            except OSError:  # nobody listens any more
                assert refused_at, "no connection is refused or reset before new work is"
                return
            finally:
                connection.close()
            statuses[answer.status] += 1
            if answer.status == 201:
                Bitstream.parse(body)  # raises on anything but a whole stream
            else:
                assert (answer.status, answer.headers["Connection"]) == (503, "close")
                assert int(answer.headers["Retry-After"]) > 0
                refused_at.append(time.monotonic())

    with (
        Server(tmp_path, ZIGGURAT_DRAIN_SECONDS="1.5", ZIGGURAT_MODELS="ms-ssim") as server,
        ThreadPoolExecutor(7) as clients,
    ):
        running = [clients.submit(load, server.address) for _ in range(6)]
        while statuses[201] < 6:
            time.sleep(0.01)
        server.process.terminate()
        told = time.monotonic()
        while _status(server, "/readyz") == 200:
            assert time.monotonic() < told + 1.5, "readiness is red long before work is refused"
        long = clients.submit(_status, server, "/compress?quality=50", _large())
        code = server.process.wait(60)
        for client in running:
            client.result()
    assert code == 0
    assert long.result() == 201, "accepted after readiness went red, finished while new work is refused"
    assert set(statuses) == {201, 503}
    assert min(refused_at) > told + 1.4


def test_leaving_an_idle_service_takes_no_time_and_a_second_signal_none_at_all(tmp_path: Path) -> None:
    (tmp_path / "idle").mkdir()
    with Server(tmp_path / "idle", ZIGGURAT_MODELS="ms-ssim") as server:
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(30) == 0
    (tmp_path / "draining").mkdir()
    with Server(tmp_path / "draining", ZIGGURAT_MODELS="ms-ssim", ZIGGURAT_DRAIN_SECONDS="3600") as server:
        server.process.send_signal(signal.SIGINT)
        while _status(server, "/readyz") == 200:
            time.sleep(0.01)
        assert server.process.poll() is None
        server.process.terminate()
        assert server.process.wait(30) == 128 + signal.SIGTERM


def test_whatever_runs_the_process_ends_within_its_grace(tmp_path: Path) -> None:
    settings = {"ZIGGURAT_MODELS": "ms-ssim", "ZIGGURAT_GRACE_SECONDS": "1"}
    with Server(tmp_path, **settings) as server, ThreadPoolExecutor(1) as clients:
        long = clients.submit(_status, server, "/compress?quality=50&codec=hybrid&effort=9", _large())
        while _in_flight(server) < 1:
            time.sleep(0.01)
        children = psutil.Process(server.process.pid).children(recursive=True)
        assert server.stop() == 1, "its work was not finished"
        assert isinstance(long.exception(), OSError)
    gone, alive = psutil.wait_procs(children, timeout=30)
    assert gone
    assert all(child.status() == psutil.STATUS_ZOMBIE for child in alive)
    assert "ended with work unfinished" in (tmp_path / "server.log").read_text()


def test_a_taken_port_is_told_at_once(server: Server) -> None:
    words = [
        sys.executable,
        "-c",
        "from service.cli import main; main()",
        "serve",
        "--port",
        server.address.rpartition(":")[2],
    ]
    second = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert second.returncode == 1
    assert "taken" in second.stderr
    assert "Traceback" not in second.stderr


def test_every_line_of_the_log_is_json_and_names_its_request(folder: Path, tmp_path: Path) -> None:
    keys = "swordfish-in-the-sea-1,swordfish-in-the-sea-2"
    with Server(tmp_path, ZIGGURAT_MODELS="ms-ssim", ZIGGURAT_API_KEYS=keys) as server:
        address = f"http://{server.address}/compress?bpp=1"
        headers = {
            "Content-Type": "image/jpeg",
            "X-API-Key": keys.split(",")[1],
            "X-Request-ID": "of-the-client",
        }
        photo = (folder / "photo.jpg").read_bytes()
        urllib.request.urlopen(urllib.request.Request(address, photo, headers), timeout=60).close()
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(
                urllib.request.Request(address, photo, headers | {"X-API-Key": "swordfish"}), timeout=60
            )
        problem = json.loads(refused.value.read())
        refused.value.close()
        assert server.stop() == 0
    log = (tmp_path / "server.log").read_text()
    lines = [json.loads(line) for line in log.splitlines()]
    made, unauthorized = [
        line for line in lines if line["message"] == "request" and line["route"] == "/compress"
    ]

    assert made["request_id"] == problem["request_id"] == "of-the-client"
    assert (made["method"], made["status"], made["level"], made["bytes_in"]) == (
        "POST",
        201,
        "info",
        len(photo),
    )
    assert 0 < made["bpp"] <= 1
    assert made["pixels"] == 128 * 96
    assert (unauthorized["status"], unauthorized["bytes_in"]) == (401, 0), "the body was not asked for"
    assert "swordfish" not in log


def _status(server: Server, path: str, body: bytes | None = None) -> int:
    headers = {"Content-Type": "application/octet-stream"} if body else {}
    try:
        with urllib.request.urlopen(
            urllib.request.Request(f"http://{server.address}{path}", body, headers), timeout=60
        ) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def _in_flight(server: Server) -> int:
    with urllib.request.urlopen(f"http://{server.address}/metrics", timeout=60) as answer:
        text = answer.read().decode()
    return sum(
        int(float(line.rpartition(" ")[2]))
        for line in text.splitlines()
        if line.startswith("ziggurat_queue_pixels ")
    )


def _large() -> bytes:
    """A picture that takes seconds."""
    file = io.BytesIO()
    noise = Image.fromarray(np.random.default_rng(5).integers(0, 256, (96, 128, 3), np.uint8))
    noise.resize((1536, 1152)).save(file, "JPEG")
    return file.getvalue()
