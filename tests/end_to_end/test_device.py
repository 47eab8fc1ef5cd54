"""Answers to orchestrators and clients while the device thread dies, sticks, or never comes up."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from PIL import Image

from tests.end_to_end.servers import Server

# SIGUSR1 raises SystemExit in the device thread: what it would die of in earnest cannot be ordered.
MORTAL = """
import ctypes, signal, threading

def kill_the_device(*_):
    ident = next(thread.ident for thread in threading.enumerate() if thread.name.startswith("device-"))
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(ident), ctypes.py_object(SystemExit))

signal.signal(signal.SIGUSR1, kill_the_device)
"""

# The first picture keeps the device for seconds within one step, as a fault in a driver does.
GLUE = """
import time
from service.engine.work import DeviceModel

quantise = DeviceModel.quantise

def stick(*arguments):
    DeviceModel.quantise = quantise
    time.sleep(4)
    return quantise(*arguments)

DeviceModel.quantise = stick
"""


def picture(side: int) -> bytes:
    file = io.BytesIO()
    Image.linear_gradient("L").resize((side, side)).convert("RGB").save(file, "PNG")
    return file.getvalue()


def ask(server: Server, path: str, body: bytes | None = None) -> tuple[int, bytes]:
    request = urllib.request.Request(
        f"http://{server.address}{path}", body, {"Content-Type": "image/png"} if body else {}
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def test_a_device_that_dies_turns_livez_red_and_leaves_nobody_waiting(tmp_path: Path) -> None:
    settings = {"ZIGGURAT_MODELS": "ms-ssim", "ZIGGURAT_MAX_BATCH_PIXELS": "1"}  # each picture is a batch
    with Server(tmp_path, prelude=MORTAL, **settings) as server, ThreadPoolExecutor(6) as clients:
        assert ask(server, "/livez")[0] == 200
        answers = [clients.submit(ask, server, "/compress?quality=50", picture(512)) for _ in range(6)]
        while b"ziggurat_queue_images 5.0" not in ask(server, "/metrics")[1]:
            time.sleep(0.01)
        server.process.send_signal(signal.SIGUSR1)

        assert [answer.result(60)[0] for answer in answers] == [503] * 6
        assert ask(server, "/livez")[0] == 503
        assert ask(server, "/readyz")[0] == 503
        status, problem = ask(server, "/compress?quality=50", picture(64))
        assert (status, json.loads(problem)["type"]) == (503, "urn:problem-type:ziggurat:unavailable")
        assert b"ziggurat_device_up 0.0" in ask(server, "/metrics")[1]
        assert server.stop() == 0, "it still leaves in good order"


def test_a_device_that_sticks_turns_livez_red_until_it_moves(tmp_path: Path) -> None:
    with (
        Server(tmp_path, prelude=GLUE, ZIGGURAT_MODELS="ms-ssim", ZIGGURAT_STALL_SECONDS="1") as server,
        ThreadPoolExecutor(1) as clients,
    ):
        answer = clients.submit(ask, server, "/compress?quality=50", picture(64))
        while ask(server, "/livez")[0] == 200:
            assert not answer.done()
            time.sleep(0.01)
        assert answer.result(60)[0] == 201
        assert ask(server, "/livez")[0] == 200


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        (["--models", "vmaf", "--profile", "vmaf"], "vmaf"),
        (["--device", "cuda:99"], "cuda:99"),
    ],
)
def test_a_server_whose_models_do_not_load_does_not_stay(settings: list[str], reason: str) -> None:
    command = [
        sys.executable,
        "-c",
        "from service.cli import main; main()",
        "serve",
        "--port",
        "0",
        "--store",
        "memory://",
        *settings,
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)

    assert done.returncode == 2
    assert reason in done.stderr
    assert len(done.stderr.splitlines()) == 1
