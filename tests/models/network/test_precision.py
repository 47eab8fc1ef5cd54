"""models.network.precision"""

from __future__ import annotations

import platform
import subprocess
import sys
from collections.abc import Iterator

import pytest
import torch
from torch import nn

from models.network.blocks import down, residual_blocks
from models.network.precision import arranged, has_fast_bfloat16, placed, transform_autocast

CPU = torch.device("cpu")


@torch.inference_mode()
@pytest.mark.parametrize(("asked", "arithmetic"), [(True, torch.bfloat16), (False, torch.float32)])
def test_the_arithmetic_is_what_is_asked_for(asked: bool, arithmetic: torch.dtype) -> None:
    convolution = nn.Conv2d(3, 4, 3)
    with transform_autocast(CPU, bfloat16=asked):
        assert convolution(torch.rand(1, 3, 8, 8)).dtype == arithmetic


@torch.inference_mode()
def test_without_a_wish_it_is_what_the_device_is_fast_at() -> None:
    with transform_autocast(CPU):
        found = nn.Conv2d(3, 4, 3)(torch.rand(1, 3, 8, 8)).dtype
    assert found == (torch.bfloat16 if has_fast_bfloat16(CPU) else torch.float32)
    assert has_fast_bfloat16(torch.device("cuda"))
    assert not has_fast_bfloat16(torch.device("meta"))


@pytest.fixture
def _new_process() -> Iterator[None]:
    """Forget what the process has found, for the test and after it."""
    has_fast_bfloat16.cache_clear()
    yield
    has_fast_bfloat16.cache_clear()


@pytest.mark.usefixtures("_new_process")
@pytest.mark.parametrize(
    ("limit", "fast"),
    [
        ({}, True),
        ({"ONEDNN_MAX_CPU_ISA": "ALL"}, True),
        ({"ONEDNN_MAX_CPU_ISA": "AVX512_CORE_BF16"}, True),
        ({"ONEDNN_MAX_CPU_ISA": "AVX512_CORE"}, False),
        ({"ONEDNN_MAX_CPU_ISA": "avx2"}, False),
        ({"DNNL_MAX_CPU_ISA": "AVX2_VNNI_2"}, False),
        ({"ONEDNN_MAX_CPU_ISA": "AVX512_CORE_AMX", "DNNL_MAX_CPU_ISA": "AVX2"}, True),
    ],
    ids=str,
)
def test_what_onednn_may_not_use_is_not_fast(
    monkeypatch: pytest.MonkeyPatch, limit: dict[str, str], fast: bool
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True, "amx_bf16": True})
    for name in ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in limit.items():
        monkeypatch.setenv(name, value)
    assert has_fast_bfloat16(CPU) == fast


@pytest.mark.usefixtures("_new_process")
def test_a_process_decides_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two of its pictures a thread may have changed the environment; oneDNN has not."""
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    monkeypatch.delenv("DNNL_MAX_CPU_ISA", raising=False)
    assert has_fast_bfloat16(CPU)
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    assert has_fast_bfloat16(CPU)


@torch.inference_mode()
def test_a_placed_network_is_channels_last_and_computes_the_same() -> None:
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 3))
    x = torch.rand(2, 3, 12, 12)
    expected = network(x)
    moved = placed(network, CPU)
    assert all(p.is_contiguous(memory_format=torch.channels_last) for p in moved.parameters() if p.dim() == 4)
    torch.testing.assert_close(moved(x), expected)


def test_an_arranged_network_is_cast_once_and_its_original_stays() -> None:
    network = nn.Sequential(down(3, 16), *residual_blocks(16, 1), nn.Linear(4, 4))
    fast = arranged(network, CPU, bfloat16=True)
    assert all(p.dtype == torch.bfloat16 for p in fast[:2].parameters())
    assert fast[2].weight.dtype == torch.float32  # not a convolution: too small to gain
    assert all(p.dtype == torch.float32 for p in network.parameters())


def test_an_arranged_network_in_float32_shares_its_weights() -> None:
    network = placed(nn.Conv2d(3, 4, 3), CPU)
    same = arranged(network, CPU, bfloat16=False)
    assert same.weight.data_ptr() == network.weight.data_ptr()
    assert not same.weight.requires_grad
    assert network.weight.requires_grad


_FAULTS_OF_LAYERS = """
import resource, torch
from models.network.precision import arranged
arranged(torch.nn.Identity(), torch.device("cpu"))
for _ in range(20):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    layers = [torch.ones(5 << 20, dtype=torch.uint8) for _ in range(4)]
    del layers
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="of other C libraries nothing is promised")
def test_memory_of_one_layer_is_there_for_the_next() -> None:
    command = [sys.executable, "-c", _FAULTS_OF_LAYERS]
    faults = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert int(faults) < 100  # pages, of 5,120
