"""Errors of the command line, as every command tells them, and `--help`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from service.cli import console
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


def test_info_and_other_quick_commands_load_no_torch(stream_file: Path) -> None:
    for command in (["info", str(stream_file)], ["models"], ["--version"], ["nonsense"], ["serve", "--help"]):
        program = (
            "import sys; from service.cli import main\n"
            f"try: main({command})\n"
            "except SystemExit: print('\\ntorch' in ''.join(f'\\n{name}' for name in sys.modules))"
        )
        shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        assert shown.stdout.splitlines()[-1] == "False", command


@pytest.mark.parametrize(
    "command",
    [
        ["compress"],
        ["compress", "nowhere.jpg", "--bpp", "1"],
        ["compress", ".", "--bpp", "1"],
        ["compress", "text.jpg", "--bpp", "1"],
        ["compress", "text.jpg", "--bpp", "much"],
        ["decompress", "text.jpg", "-o", "out.png"],
        ["enhance", "text.jpg"],
        ["info", "."],
        ["info", "text.jpg"],
        ["evaluate", "text.jpg"],
        ["evaluate", "."],
        ["evaluate", ".", "-o", "."],
        ["evaluate", ".", "--rates", "many"],
        ["evaluate", ".", "--device", "abacus"],
        ["serve", "--device", "abacus"],
        ["health", "--url", "nonsense"],
        ["nonsense"],
        ["--nonsense"],
    ],
    ids=" ".join,
)
def test_every_wrong_input_is_one_line_and_a_code(
    terminal: Terminal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.jpg").write_text("no picture")
    assert terminal.run(*command) in {1, 2}
    lines = [line for line in terminal.err.splitlines() if not line.endswith("failed")]
    assert len(lines) == 1, terminal.err


def test_a_pipe_is_not_folded_and_may_be_closed(stream_file: Path) -> None:
    program = [sys.executable, "-c", "from service.cli import main; main()", "info"]
    files = [str(stream_file)] * 1
    shown = subprocess.run([*program, *files], capture_output=True, text=True, check=True).stdout
    assert str(stream_file) in shown.splitlines()
    assert all(line == line.rstrip() for line in shown.splitlines())
    with subprocess.Popen([*program, *files], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        running.stdout.close()
        assert running.stderr.read() == b""


@pytest.mark.parametrize(
    ("option", "value"), [("--profile", "jpeg"), ("--device", "abacus"), ("--device", "cuda:99")]
)
def test_an_unknown_model_or_device_is_a_usage_error(
    terminal: Terminal, photo_file: Path, option: str, value: str
) -> None:
    assert terminal.run("compress", photo_file, "--bpp", "1", option, value) == 2
    assert value in terminal.err


def test_all_jobs_are_one_for_each_core(terminal: Terminal, photo_file: Path) -> None:
    assert console._count("all") == console.cores() >= 1
    assert terminal.run("compress", photo_file, "--bpp", "1", "-j", "all", "--dry-run") == 0
