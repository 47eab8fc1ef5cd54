"""The arithmetic and memory layout of the transforms: whatever a device is fast at.

The entropy model has no part in it: that is integer, and the same everywhere.
"""

from __future__ import annotations

import copy
import os
from functools import cache
from typing import TypeVar

import torch
from torch import nn

from models.network.blocks import Arrangeable

Network = TypeVar("Network", bound=nn.Module)

# Where a user holds oneDNN, which computes the convolutions, to one of these instruction sets, it
# emulates bfloat16, whatever the processor has. Of others it knows, or ignores, none is so small.
_WITHOUT_BFLOAT16 = frozenset(
    ["SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX2_VNNI_2", "AVX512_CORE", "AVX512_CORE_VNNI"]
)


_LARGEST_THRESHOLD = 32 << 20  # bytes, of glibc's blocks that it may come to take from its heap


@cache  # as oneDNN reads its variables once: one answer for the whole process
def has_fast_bfloat16(device: torch.device) -> bool:
    """Tell if bfloat16 convolutions run in hardware.

    Where they are emulated they take eight times as long as float32, and their gradients more
    (measured on a CPU with AVX2). The answer moves pixels by a rounding, and never a symbol.
    """
    if device.type == "cpu":
        capabilities = torch.cpu.get_capabilities()
        in_hardware = capabilities.get("avx512_bf16") or capabilities.get("amx_bf16")
        return bool(in_hardware and _onednn_may_use_it())
    return device.type == "cuda"


def _onednn_may_use_it() -> bool:
    """Tell if oneDNN is there and not held, by the environment, to less than bfloat16.

    torch tells what the processor has, and not what oneDNN was held to.
    """
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    limit = os.environ.get("ONEDNN_MAX_CPU_ISA") or os.environ.get("DNNL_MAX_CPU_ISA") or ""
    return limit.upper() not in _WITHOUT_BFLOAT16


def transform_autocast(device: torch.device, *, bfloat16: bool | None = None) -> torch.autocast:
    """Make the context that training, encoding and decoding run the transforms in.

    Args:
        device: where they run.
        bfloat16: run in bfloat16 or in float32; None takes what the device is fast at.
    """
    return torch.autocast(device.type, torch.bfloat16, enabled=_in_bfloat16(device, bfloat16))


def _in_bfloat16(device: torch.device, bfloat16: bool | None) -> bool:
    return has_fast_bfloat16(device) if bfloat16 is None else bfloat16


def placed(network: Network, device: torch.device) -> Network:
    """Move the network to the device, channels last in memory: convolutions are faster so."""
    moved = network.to(device)  # torch's stubs do not know what follows
    return moved.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def arranged(network: Network, device: torch.device, *, bfloat16: bool | None = None) -> Network:
    """Make the network that encodes and decodes: its weights change no more.

    In bfloat16 its convolutions have their weights cast and ordered for the device once. Autocast
    would cast them in every call.

    Args:
        network: with float32 weights, which stay as they are.
        device: where it goes.
        bfloat16: run in bfloat16 or in float32; None takes what the device is fast at.
    """
    if device.type == "cpu":
        _keep_freed_memory()
    network = _with_weights_of(network).to(device)
    if not _in_bfloat16(device, bfloat16):
        return placed(network, device)
    for module in network.modules():
        if isinstance(module, Arrangeable):
            module.arrange()
    return network


def _with_weights_of(network: Network) -> Network:
    """Copy the modules and share the weights, without gradients.

    To arrange a weight replaces it, so that no second copy in float32 ever lies beside the first.
    """
    shared = {id(p): nn.Parameter(p.detach(), requires_grad=False) for p in network.parameters()}
    return copy.deepcopy(network, shared)


@cache  # once in a process
def _keep_freed_memory() -> None:
    """Make glibc keep the memory between two layers; else it goes to the system and comes back.

    Zeroing its pages took a fifth of g_a's time. glibc keeps twice the size of the largest block
    that was mapped and freed, up to 64 MB in all. The block itself is never touched.
    """
    torch.empty(_LARGEST_THRESHOLD - 8192, dtype=torch.uint8)
