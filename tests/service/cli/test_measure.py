"""`ziggurat evaluate`, run as a user runs it."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.cli import measure
from tests.service.conftest import Terminal


def test_evaluate_prints_tables_and_writes_what_it_found(
    terminal: Terminal, photo_file: Path, tmp_path: Path
) -> None:
    results = tmp_path / "results"
    assert (
        terminal.run("evaluate", photo_file.parent, "--against", "jpeg", "--profile", "psnr", "-o", results)
        == 0
    )
    assert "| ziggurat-psnr |" in terminal.out
    written = {path.suffix for path in results.iterdir()}
    assert {".json", ".md", ".png"} <= written


@pytest.mark.parametrize(
    "options", [["--against", "betamax"], ["--profile", "psnr,betamax"], ["--judges", "betamax"]]
)
def test_evaluate_refuses_codecs_it_does_not_know(
    terminal: Terminal, photo_file: Path, options: list[str]
) -> None:
    assert terminal.run("evaluate", photo_file.parent, *options) == 2
    assert "betamax" in terminal.err


def test_evaluate_without_its_extra_names_it(
    terminal: Terminal, photo_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measure, "find_spec", lambda name: None if name == "pillow_jxl" else object())
    assert terminal.run("evaluate", photo_file.parent) == 1
    assert "evaluate needs pillow_jxl: pip install 'ziggurat[evaluation]'" in terminal.err
    assert len(terminal.err.splitlines()) == 1


def test_evaluate_without_a_judge_s_package_names_it(
    terminal: Terminal, photo_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measure, "find_spec", lambda name: None if name == "piq" else object())
    assert terminal.run("evaluate", photo_file.parent, "--judges", "nlpd,vifp,fsimc") == 1
    assert "evaluate needs piq: pip install 'ziggurat[evaluation]'" in terminal.err


def test_results_stay_apart_from_the_images(terminal: Terminal, photo_file: Path) -> None:
    for output in (photo_file.parent, photo_file):
        assert terminal.run("evaluate", photo_file.parent, "-o", output) == 2
        assert "--output" in terminal.err
