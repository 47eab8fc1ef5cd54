"""The arithmetic and memory layout of the transforms: whatever a device is fast at.

The entropy model has no part in it: that is integer, and the same everywhere.
"""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import nn

Network = TypeVar("Network", bound=nn.Module)


def has_fast_bfloat16(device: torch.device) -> bool:
    """Tell if bfloat16 convolutions run in hardware.

    Where they are emulated they take eight times as long as float32 (measured on a CPU with AVX2).
    """
    if device.type == "cpu":
        capabilities = torch.cpu.get_capabilities()
        return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
    return device.type == "cuda"


def transform_autocast(device: torch.device, *, bfloat16: bool | None = None) -> torch.autocast:
    """Make the context that training, encoding and decoding run the transforms in.

    Args:
        device: where they run.
        bfloat16: run in bfloat16 or in float32; None takes what the device is fast at.
    """
    enabled = has_fast_bfloat16(device) if bfloat16 is None else bfloat16
    return torch.autocast(device.type, torch.bfloat16, enabled=enabled)


def placed(network: Network, device: torch.device) -> Network:
    """Move the network to the device, channels last in memory: convolutions are faster so."""
    moved = network.to(device)  # torch's stubs do not know what follows
    return moved.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]
