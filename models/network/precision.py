"""Which arithmetic and memory layout the transforms run in: whatever this device is fast at. Never the entropy model: that is integer."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import nn

Network = TypeVar("Network", bound=nn.Module)


def has_fast_bfloat16(device: torch.device) -> bool:
    """Whether bfloat16 convolutions run in hardware; where they are emulated they are eight times slower than float32 (AVX2, measured)."""
    if device.type == "cpu":
        capabilities = torch.cpu.get_capabilities()
        return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
    return device.type == "cuda"


def transform_autocast(device: torch.device, *, bfloat16: bool | None = None) -> torch.autocast:
    """The context that training, encoding and decoding run the transforms in; `bfloat16` overrides the device's preference."""
    enabled = has_fast_bfloat16(device) if bfloat16 is None else bfloat16
    return torch.autocast(device.type, torch.bfloat16, enabled=enabled)


def placed(network: Network, device: torch.device) -> Network:
    """The network on the device, channels last in memory: faster convolutions everywhere."""
    return network.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]  # missing in torch's stubs
