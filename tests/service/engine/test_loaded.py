"""Models: each weights file is read once, whatever is made of it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import safetensors

from models.errors import UnknownModelError
from models.hybrid.codec import HybridCodec
from models.weights import weights_file
from service.engine.errors import NoPostProcessorError, UnknownProfileError
from service.engine.loaded import Models
from service.metrics import Metrics
from service.settings import Settings


def models(**settings: Any) -> Models:
    return Models(Settings(threads=1, store="memory://", **settings), Metrics())


def test_every_weights_file_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: Counter[str] = Counter()
    safe_open = safetensors.safe_open

    def counted(path: Path, *arguments: Any, **options: Any) -> Any:
        opened[str(path)] += 1
        return safe_open(path, *arguments, **options)

    monkeypatch.setattr(weights_file, "safe_open", counted)
    loaded = models()
    loaded.load()
    assert len(opened) == 2 + len(loaded.post_processors)
    assert set(opened.values()) == {1}


def test_models_are_found_by_name_and_by_id() -> None:
    loaded = models(models=("psnr",), profile="psnr")
    loaded.load()
    model_id = loaded.model("psnr").codec.model_id
    assert loaded.profile_of(model_id) == "psnr"
    assert loaded.model_id("psnr") == model_id
    assert loaded.profile_of(HybridCodec.model_id) == HybridCodec.name == loaded.hybrid.name
    assert loaded.model_id(HybridCodec.name) == HybridCodec.model_id
    with pytest.raises(UnknownModelError):
        loaded.profile_of("00000000")
    with pytest.raises(UnknownProfileError, match="psnr"):
        loaded.model("ms-ssim")


def test_before_loading_there_is_nothing() -> None:
    empty = models()
    assert empty.codecs == {}
    assert empty.post_processors == []
    with pytest.raises(NoPostProcessorError):
        empty.post_processor()
