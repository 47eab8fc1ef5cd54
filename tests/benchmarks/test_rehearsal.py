"""The rehearsal has the balancer's own configuration, with other addresses."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from benchmarks import rehearsal
from benchmarks.rehearsal import CONFIGURATION, Place, configuration, served

PLACES = [Place(f"127.77.{number}.2", "127.0.0.1", None) for number in range(2)]


def test_only_addresses_differ_from_what_is_shipped(tmp_path: Path) -> None:
    made = configuration(PLACES, "127.0.0.1:1")
    shipped = set(CONFIGURATION.read_text().splitlines())
    assert [line.strip() for line in made.splitlines() if line not in shipped] == [
        "bind 127.0.0.1:1",
        "server replica0 127.77.0.2:8000",
        "server replica1 127.77.1.2:8000",
    ]
    if haproxy := shutil.which("haproxy"):
        (tmp_path / "haproxy.cfg").write_text(made)
        subprocess.run([haproxy, "-c", "-f", tmp_path / "haproxy.cfg"], check=True)


def test_a_configuration_that_has_changed_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "haproxy.cfg").write_text("frontend http\n    bind :1\n")
    monkeypatch.setattr(rehearsal, "CONFIGURATION", tmp_path / "haproxy.cfg")
    with pytest.raises(ValueError, match="server-template"):
        configuration(PLACES, "127.0.0.1:1")


def test_the_balancer_tells_who_answered(tmp_path: Path) -> None:
    log = tmp_path / "log"
    line = '127.0.0.1:5 [30/Nov/2026:20:57:32.965] http ziggurat/replica{} 0/0/0/1/1 201 6 - - ---- "GET /"\n'
    log.write_text("".join(line.format(number) for number in (2, 0, 2)))
    assert served(log) == {"replica0": 1, "replica2": 2}
