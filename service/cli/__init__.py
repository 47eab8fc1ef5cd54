"""The command `ziggurat`: the codec on files and folders, its evaluation, and the server.

Exit codes: 0 all went well; 1 an input could not be read or coded (one line says why; the rest of a
folder is still done); 2 the command line does not make sense. Results that were asked for (`info`,
`models`, `evaluate`) go to stdout; what tells how the work goes, to stderr. Nothing heavy is
imported before a command runs, so that `--help` answers at once.
"""

from __future__ import annotations

# The commands register themselves, in the order in which --help lists them.
from . import compress, files, measure, server
from .console import app, err

__all__ = ["app", "compress", "files", "main", "measure", "server"]


def main(arguments: list[str] | None = None) -> None:
    """Run the command; always leaves by SystemExit."""
    try:
        app(arguments)
    except Exception as error:
        from models.errors import CodecError

        if not isinstance(error, CodecError | OSError):
            raise
        err.print(f"ziggurat: {error}")
        raise SystemExit(1) from None
