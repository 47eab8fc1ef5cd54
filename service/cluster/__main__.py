"""Run a command of Ray with HAProxy in front of the replicas.

    python -m service.cluster                                    # serve run service.cluster:app
    python -m service.cluster ray start --head                   # a node, and likewise all others
    python -m service.cluster serve deploy docker/ray/serve.yaml

Ray reads how its proxies work from the environment of its nodes, when they start. Variables that
are set already stay as they are.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from .environment import of_nodes


def main() -> None:
    """Become the command, `serve run service.cluster:app` unless one is given."""
    program, *arguments = sys.argv[1:] or ["serve", "run", "service.cluster:app"]
    # Ray's programs lie beside the interpreter, which need not be on the PATH.
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)))
    found = shutil.which(program, path=path)
    if found is None:
        sys.exit(f"{program}: no such program")
    os.execve(found, [found, *arguments], of_nodes() | os.environ | {"PATH": path})


if __name__ == "__main__":
    main()
