from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from models.errors import UnknownModelError, WeightsError
from models.hybrid.codec import HybridCodec
from models.learned.model import CodecModel
from models.postprocess import model as post_model
from models.postprocess.model import PostModel
from models.weights import registry
from service.engine.errors import NoPostProcessorError, UnknownProfileError
from service.engine.loaded import Models, network_threads
from service.metrics import Metrics
from service.settings import Settings


@pytest.fixture(scope="module")
def models() -> Models:
    models = Models(Settings(threads=1), Metrics())
    models.load()
    return models


def test_each_file_of_weights_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    read: Counter[Path] = Counter()
    load_codec = CodecModel.load
    load_post_processor = PostModel.load

    def counted_codec(path: Path) -> CodecModel:
        read[path] += 1
        return load_codec(path)

    def counted_post_processor(path: Path) -> PostModel:
        read[path] += 1
        return load_post_processor(path)

    monkeypatch.setattr(CodecModel, "load", counted_codec)
    monkeypatch.setattr(PostModel, "load", counted_post_processor)

    Models(Settings(threads=1), Metrics()).load()

    codecs = [registry.weights(name) for name in registry.SHIPPED]
    post_processors = [post_model.weights(name) for name in ("files", "psnr")]
    assert read == Counter([*codecs, *post_processors])


def test_models_are_found_by_name_and_by_id(models: Models) -> None:
    ids = {name: registry.card(name).model_id for name in registry.SHIPPED} | {"avif": HybridCodec.model_id}

    assert {name: models.model_id(name) for name in ids} == ids
    assert [models.profile_of(model_id) for model_id in ids.values()] == list(ids)
    assert models.model("psnr").codec is models.codecs["psnr"]
    with pytest.raises(UnknownProfileError, match="visual, ms-ssim, psnr"):
        models.model("vmaf")
    with pytest.raises(UnknownModelError):
        models.profile_of("00000000")


def test_one_post_processor_is_for_files_and_for_hybrid_streams(models: Models) -> None:
    files = models.post_processor().post_processor

    assert models.hybrid.post_processor is files
    assert [post_processor.name for post_processor in models.post_processors] == ["files", "psnr"]


def test_what_is_loaded_is_told_to_prometheus() -> None:
    metrics = Metrics()
    models = Models(Settings(models=("psnr",), profile="psnr", threads=1), metrics)
    models.load()

    for name, model_id in (
        ("psnr", models.model_id("psnr")),
        ("post-files", models.post_processor().post_processor.model_id),
    ):
        labels = {"model": name, "model_id": model_id, "device": "cpu"}
        assert metrics.registry.get_sample_value("ziggurat_model_info", labels) == 1


def test_without_weights_there_is_no_post_processor(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(post_model, "WEIGHTS", tmp_path)
    models = Models(Settings(models=("psnr",), profile="psnr", threads=1), Metrics())
    models.load()

    assert models.post_processors == []
    with pytest.raises(NoPostProcessorError):
        models.post_processor()


def test_a_model_that_does_not_exist_is_told() -> None:
    with pytest.raises(WeightsError):
        Models(Settings(models=("vmaf",), profile="vmaf", threads=1), Metrics()).load()


@pytest.mark.parametrize(("set_to", "cores", "threads"), [(None, 1.5, 1), (None, 999.0, 3), (7, 1.5, 7)])
def test_threads_stay_within_a_containers_quota(
    monkeypatch: pytest.MonkeyPatch, set_to: int | None, cores: float, threads: int
) -> None:
    monkeypatch.setattr("service.machine.cores", lambda: cores)
    monkeypatch.setattr("torch.get_num_threads", lambda: 3)
    assert network_threads(Settings(threads=set_to)) == threads
