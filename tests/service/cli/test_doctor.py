"""`ziggurat doctor`, run as a user runs it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from models.weights import registry
from tests.service.conftest import Terminal


def test_all_is_well_here(terminal: Terminal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZIGGURAT_STORE", str(tmp_path))
    assert terminal.run("doctor", "--json") == 0, terminal.out
    found = json.loads(terminal.out)
    assert found["sound"]
    assert found["versions"]["torch"]
    rows = {finding["name"]: finding for finding in found["findings"]}
    assert {"packages", "settings", "device", "integers", "bfloat16", "ms-ssim", "psnr", "post-files"} <= set(
        rows
    )
    assert {"hybrid codec", "threads", "memory", "open files", "store"} <= set(rows)
    assert rows["settings"]["found"] == "ZIGGURAT_STORE"
    assert not any(path.is_file() for path in tmp_path.rglob("*"))  # the probe is gone


def test_each_fault_says_what_to_do(
    terminal: Terminal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "WEIGHTS", tmp_path)  # without models
    (tmp_path / "file").touch()
    monkeypatch.setenv("ZIGGURAT_STORE", str(tmp_path / "file"))
    monkeypatch.setenv("ZIGGURAT_MAX_PIXELS", str(10**12))
    assert terminal.run("doctor") == 1
    faults = {line[8:22].strip(): line for line in terminal.err.splitlines()}
    assert set(faults) == {"models", "store"}
    assert "install the package again" in faults["models"]
    assert "ZIGGURAT_STORE names another" in faults["store"]
    assert "lower ZIGGURAT_MAX_PIXELS to" in terminal.out

    monkeypatch.setenv("ZIGGURAT_PORT", "many")
    assert terminal.run("doctor", "--quiet", "--device", "abacus") == 1
    assert terminal.out == ""
    faults = {line[8:22].strip(): line for line in terminal.err.splitlines()}
    assert set(faults) == {"settings", "device"}
    assert "ZIGGURAT_PORT" in faults["settings"]
    assert "choose one of cpu" in faults["device"]


def test_a_store_that_is_not_there_yet_is_not_made(
    terminal: Terminal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "WEIGHTS", tmp_path)
    monkeypatch.setenv("ZIGGURAT_STORE", str(tmp_path / "new" / "store"))
    terminal.run("doctor")
    assert "will be made in" in terminal.out
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setenv("ZIGGURAT_STORE", "betamax://streams")
    assert terminal.run("doctor") == 1
    assert "check its name, credentials and network" in terminal.err
