"""`ziggurat serve` and `health`, run as a user runs them."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from models.weights import registry
from tests.service.conftest import Log, Terminal


def test_serve_has_a_flag_for_every_setting(terminal: Terminal) -> None:
    from service.settings import Settings

    assert terminal.run("serve", "--help") == 0
    for name in Settings.model_fields:
        assert f"--{name.replace('_', '-')}" in terminal.out


@pytest.mark.parametrize("arguments", [["--port", "many"], ["--no-such-flag", "1"], ["--profile", "jpeg"]])
def test_serve_refuses_settings_that_make_no_sense(terminal: Terminal, arguments: list[str]) -> None:
    assert terminal.run("serve", *arguments) == 2


@pytest.mark.parametrize("keys", ["", " , ", "a-short-key"])
@pytest.mark.parametrize("command", ["serve", "health"])
def test_keys_that_do_not_do_are_refused_in_one_line(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch, command: str, keys: str
) -> None:
    monkeypatch.setenv("ZIGGURAT_API_KEYS", keys)

    assert terminal.run(command) == 2
    (line,) = [line for line in terminal.err.splitlines() if "key" in line]
    assert "16 characters" in line if keys == "a-short-key" else "ZIGGURAT_API_KEYS is set" in line
    assert "a-short-key" not in terminal.err


@pytest.mark.parametrize(
    ("host", "keys", "warns"),
    [
        ("127.0.0.1", None, False),
        ("127.0.0.2", None, False),
        ("::1", None, False),
        ("0.0.0.0", None, True),
        ("::", None, True),
        ("0.0.0.0", "the-only-key-of-ours", False),
    ],
)
def test_a_start_that_others_reach_without_keys_is_warned_of(
    log: Log, host: str, keys: str | None, warns: bool
) -> None:
    from service.cli.server import warn_if_open
    from service.settings import Settings

    settings = Settings.model_validate({"api_keys": keys} if keys else {})
    warn_if_open(settings, host, f"http://[{host}]:8000")

    warnings = [line for line in log.lines() if line["level"] == "warning"]
    assert len(warnings) == warns
    for line in warnings:
        assert "ZIGGURAT_API_KEYS" in line["message"]
        assert line["address"] == f"http://[{host}]:8000"


def test_damaged_weights_end_the_start_in_one_line(
    terminal: Terminal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = tmp_path / "weights"
    shutil.copytree(registry.WEIGHTS, weights)
    damaged = weights / "psnr.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:-1000])
    monkeypatch.setattr(registry, "WEIGHTS", weights)

    options = ("--store", str(tmp_path), "--port", "0", "--models", "psnr", "--profile", "psnr")
    assert terminal.run("serve", *options) == 1
    assert terminal.err.splitlines()[-1].startswith("ziggurat: cannot load psnr")
    assert "Traceback" not in terminal.err + terminal.out


@pytest.mark.parametrize(("status", "code"), [(200, 0), (503, 1)])
def test_health_asks_readyz(terminal: Terminal, status: int, code: int) -> None:
    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/readyz" else 404)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        assert terminal.run("health", "--url", f"http://127.0.0.1:{server.server_port}/") == code
        thread.join()


def test_health_of_nobody(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZIGGURAT_PORT", "1")
    monkeypatch.setenv("ZIGGURAT_HOST", "0.0.0.0")
    assert terminal.run("health") == 1
    assert "http://127.0.0.1:1" in terminal.err


@pytest.mark.parametrize(
    ("arguments", "names", "code"),
    [
        (["--store", "file"], "store file: cannot be written", 1),
        (["--store", "file/below"], "store file/below: cannot be written", 1),
        (["--store", "tape://x"], "tape://x", 2),
        (["--models", "vgg", "--profile", "vgg"], "vgg: the models are", 2),
        (["--device", "abacus"], "abacus", 2),
        (["--host", "nowhere.invalid"], "nowhere.invalid:0: cannot listen there", 1),
    ],
)
def test_a_broken_start_is_one_line_that_names_the_thing(
    terminal: Terminal,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    names: str,
    code: int,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    assert terminal.run("serve", "--port", "0", *arguments) == code
    assert names in terminal.err
    assert len(terminal.err.splitlines()) == 1


def test_a_taken_port_is_noticed_before_anything_is_loaded(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        program = (
            "import sys; from service.cli import main\n"
            f"try: main(['serve', '--port', '{other.getsockname()[1]}'])\n"
            "except SystemExit as left: print(left.code, 'torch' in sys.modules)"
        )
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path)
    assert done.stdout == "1 False\n", done.stderr
    assert "the port is taken" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_setting_from_the_environment_is_named(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZIGGURAT_PORT", "many")
    for command in ("serve", "health"):
        assert terminal.run(command) == 2
        assert "ZIGGURAT_PORT" in terminal.err
        assert len(terminal.err.splitlines()) == 1
