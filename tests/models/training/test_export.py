"""Export: the card says what was trained and how; the command explains itself."""

from __future__ import annotations

import re
import sys

import pytest

from models.training import export


def test_the_commit_is_one_or_unknown() -> None:
    assert re.fullmatch(r"[0-9a-f]{40}|unknown", export.commit())


def test_the_command_explains_itself(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["export", "--help"])
    with pytest.raises(SystemExit):
        export.main()
    shown = capsys.readouterr().out
    assert "--context-crops" in shown
    assert "python -m models.training.export" in shown
