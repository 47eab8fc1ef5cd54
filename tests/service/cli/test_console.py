"""Errors of the command line, as every command tells them, and `--help`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.service.conftest import Terminal


def test_help_answers_without_loading_torch() -> None:
    program = (
        "import sys; from service.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: print('torch' in sys.modules)"
    )
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert shown.splitlines()[-1] == "False"
    for command in ("compress", "decompress", "info", "evaluate", "serve", "models", "health"):
        assert f"  {command} " in shown


@pytest.mark.parametrize(
    ("option", "value"), [("--profile", "jpeg"), ("--device", "abacus"), ("--device", "cuda:99")]
)
def test_an_unknown_model_or_device_is_a_usage_error(
    terminal: Terminal, photo_file: Path, option: str, value: str
) -> None:
    assert terminal.run("compress", photo_file, "--bpp", "1", option, value) == 2
    assert value in terminal.err
