"""`ziggurat serve` with a device that breaks on command.

    python -m benchmarks.faulty [flags of ziggurat serve]

SIGUSR1 ends the device's thread, SIGUSR2 has it stand still inside the network.

The service is what it is; only PyTorch's own hook before every layer is used.
"""

from __future__ import annotations

import signal
import threading
from types import FrameType

import torch

STUCK_SECONDS = 3600.0


class BrokenDevice(BaseException):
    """A fault that nobody recovers from, as a lost CUDA context."""


def main() -> None:
    """Serve until told to fail, and then on."""
    from service.cli import main as ziggurat

    fault: list[int] = []

    def order(number: int, _: FrameType | None) -> None:
        fault.append(number)

    def before_layer(*_: object) -> None:
        if threading.current_thread().name.startswith("device-") and fault:
            if fault[-1] == signal.SIGUSR1:
                raise BrokenDevice
            threading.Event().wait(STUCK_SECONDS)

    signal.signal(signal.SIGUSR1, order)
    signal.signal(signal.SIGUSR2, order)
    torch.nn.modules.module.register_module_forward_pre_hook(before_layer)
    ziggurat()


if __name__ == "__main__":
    main()
