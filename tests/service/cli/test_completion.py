"""`ziggurat completion`, in a real bash."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.service.conftest import Terminal

COMPLETED = {
    ("comp",): {"compare", "completion", "compress"},
    ("models", ""): {"list", "show", "verify"},
    ("decompress", "--postprocess", ""): {"auto", "on", "off"},
    ("info", "--ver"): {"--verbose"},
    ("info", "ph"): set(),  # files are bash's own to complete
}


def test_bash_completes(terminal: Terminal, tmp_path: Path) -> None:
    assert terminal.run("completion", "bash") == 0
    program = tmp_path / "ziggurat"
    program.write_text(f"#!{sys.executable}\nfrom service.cli import main\nmain()\n")
    program.chmod(0o755)
    script = f"{terminal.out}\nPATH={tmp_path}:$PATH\n"
    for typed in COMPLETED:
        words = " ".join(f"'{word}'" for word in ("ziggurat", *typed))
        script += f"COMP_WORDS=({words}) COMP_CWORD={len(typed)}\n"
        script += '_ziggurat_completion ziggurat; echo "${COMPREPLY[@]}"\n'
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    completed = [set(line.split()) for line in done.stdout.splitlines()]
    assert dict(zip(COMPLETED, completed, strict=True)) == COMPLETED
    assert done.stderr == ""


def test_other_shells_get_their_script_and_unknown_ones_do_not(terminal: Terminal) -> None:
    for shell, begins in (("zsh", "#compdef ziggurat"), ("fish", "complete --command ziggurat")):
        assert terminal.run("completion", shell) == 0
        assert terminal.out.startswith(begins)
    assert terminal.run("completion", "dos") == 2
