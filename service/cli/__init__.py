"""The command `ziggurat`: the codec on files and folders, its evaluation, and the server.

Exit codes are those of `console.ExitCode`. Every error is one line on stderr that names the thing;
of a folder the rest is still done. Results that were asked for (`info`, `models`, `evaluate`) go to
stdout; what tells how the work goes, to stderr. Nothing heavy is imported before a command runs, so
that `--help` answers at once.
"""

from __future__ import annotations

import sys
from io import TextIOWrapper

# The commands register themselves, in the order in which --help lists them.
from . import (  # isort: skip
    compress,
    files,
    compare,
    measure,
    server,
    model_files,
    doctor,
    completion,
)
from .console import ExitCode, app, err

__all__ = [
    "app",
    "compare",
    "completion",
    "compress",
    "doctor",
    "files",
    "main",
    "measure",
    "model_files",
    "server",
]


def main(arguments: list[str] | None = None) -> None:
    """Run the command; always leaves by SystemExit."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a file's name may be no text
    completion.prepare()
    try:
        code = app(arguments, prog_name="ziggurat", standalone_mode=False)
    except Exception as error:
        code = _told(error)
    raise SystemExit(code or ExitCode.OK)


def _told(error: Exception) -> int:
    """Tell an error in one line, and return its exit code. A mistake of ours is raised again."""
    # Typer's errors come from click or from its own copy of it; what both have is the method.
    if (format_message := getattr(error, "format_message", None)) is not None:
        is_help = type(error).__name__ == "NoArgsIsHelpError"
        err.print(format_message() if is_help else f"ziggurat: {_one_line(format_message())}")
        return ExitCode.USAGE

    from models.errors import CodecError

    from ..images import ImageError

    if not isinstance(error, CodecError | ImageError | OSError | ModuleNotFoundError):
        raise error
    err.print(f"ziggurat: {_one_line(str(error))}")
    return ExitCode.FAILED


def _one_line(text: str) -> str:
    return " ".join(text.split())
