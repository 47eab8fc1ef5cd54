"""First steps of every child process of the service."""

from __future__ import annotations

import os
import signal
import threading
from multiprocessing import parent_process


def begin() -> None:
    """Leave stopping to the parent, and never outlive it."""
    # Ctrl-C and service managers signal the whole group. The parent finishes what was accepted
    # first, and says when that is.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    parent = parent_process()
    assert parent is not None

    def leave_with_parent() -> None:
        parent.join()  # returns also when the parent was killed
        os._exit(1)

    threading.Thread(target=leave_with_parent, daemon=True).start()
