from __future__ import annotations

import subprocess
import sys


def test_freed_memory_is_the_system_s_again() -> None:
    """Pieces too small to be mapped each for itself stay with the process, below one that lives."""
    code = """
import psutil
from service.engine.memory import give_back
pieces = [bytearray(100_000) for _ in range(1000)]
last = bytearray(100_000)
del pieces
before = psutil.Process().memory_info().rss
give_back()
print(before - psutil.Process().memory_info().rss)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) > 50_000_000
