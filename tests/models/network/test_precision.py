"""models.network.precision"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import nn

from models.network.precision import has_fast_bfloat16, placed, transform_autocast

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
