from __future__ import annotations

import asyncio
import math

import pytest
from fastapi.testclient import TestClient
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from models import Stream, Target
from service.metrics import Metrics, OfWorkers


def test_two_apps_do_not_share_metrics() -> None:
    first = Metrics()
    second = Metrics()
    first.refused("overloaded")

    assert second.registry.get_sample_value("ziggurat_rejected_total", {"reason": "overloaded"}) is None


def test_stages_are_timed_also_when_they_fail() -> None:
    metrics = Metrics()
    with pytest.raises(ValueError, match="broken"), metrics.stage_timer("decode"):
        raise ValueError("broken")

    assert (
        metrics.registry.get_sample_value("ziggurat_stage_duration_seconds_count", {"stage": "decode"}) == 1
    )


def _stream(size: int, target: Target, *, met: bool = True) -> Stream:
    return Stream(
        bytes(size), width=100, height=80, quality=50.0, model="psnr", probes=2, target=target, target_met=met
    )


def test_what_was_asked_for_and_what_was_delivered_are_counted() -> None:
    metrics = Metrics()
    metrics.compressed(_stream(995, Target(bpp=1)))
    metrics.compressed(_stream(1000, Target(max_bytes=1000)))
    metrics.compressed(_stream(1200, Target(max_bytes=1000), met=False))
    metrics.compressed(_stream(500, Target(quality=30)))
    metrics.decompressed(8000, 500)

    value = metrics.registry.get_sample_value
    assert value("ziggurat_pixels_total", {"direction": "compress"}) == 4 * 8000
    assert value("ziggurat_bytes_total", {"direction": "decompress"}) == 500
    assert value("ziggurat_rate_missed_total") == 1
    assert value("ziggurat_rate_bpp_count") == 4
    assert value("ziggurat_rate_error_ratio_count") == 3, "a quality asks for no size"
    assert value("ziggurat_rate_error_ratio_bucket", {"le": "1.0"}) == 2, (
        "what is exactly on the budget is not over it"
    )
    assert value("ziggurat_rate_error_ratio_bucket", {"le": "0.99"}) == 0


def test_padding_is_the_share_of_a_batch_that_is_no_picture() -> None:
    metrics = Metrics()
    metrics.batch(3, pixels=300, padded_pixels=400)

    assert metrics.registry.get_sample_value("ziggurat_batch_images_sum") == 3
    assert metrics.registry.get_sample_value("ziggurat_batch_padding_ratio_sum") == 0.25


def test_states_are_read_at_the_scrape() -> None:
    metrics = Metrics()
    ages = [0.0, math.inf]
    value = metrics.registry.get_sample_value
    metrics.watch_queue(images=lambda: 3, pixels=lambda: 300, oldest_age=lambda: 1.5, max_pixels=1000)
    metrics.watch_device("cpu", up=lambda: ages[0] < 10, heartbeat_age=lambda: ages[0])
    assert value("ziggurat_store_bytes") is None, "a bucket has no such series"
    metrics.watch_store(stored_bytes=lambda: 4096, stored_objects=lambda: 2, max_bytes=10_000)

    assert (
        value("ziggurat_queue_images"),
        value("ziggurat_queue_pixels"),
        value("ziggurat_queue_max_pixels"),
    ) == (3, 300, 1000)
    assert value("ziggurat_queue_oldest_age_seconds") == 1.5
    assert (
        value("ziggurat_store_bytes"),
        value("ziggurat_store_objects"),
        value("ziggurat_store_max_bytes"),
    ) == (4096, 2, 10_000)
    resident = value("ziggurat_device_memory_bytes", {"kind": "resident"})
    assert resident == pytest.approx(value("process_resident_memory_bytes"), rel=0.05)
    assert value("ziggurat_device_up") == 1
    ages.pop(0)
    assert value("ziggurat_device_up") == 0
    assert value("ziggurat_device_heartbeat_age_seconds") == math.inf


def test_faults_are_counted() -> None:
    metrics = Metrics()
    metrics.store_failed("put")
    metrics.out_of_memory()
    metrics.entropy_worker_restarted()
    metrics.image_worker_restarted()
    metrics.entropy_coded("compress", 1000)

    value = metrics.registry.get_sample_value
    assert value("ziggurat_store_errors_total", {"operation": "put"}) == 1
    assert value("ziggurat_store_errors_total", {"operation": "get"}) == 0
    assert value("ziggurat_device_out_of_memory_total") == 1
    assert value("ziggurat_entropy_worker_restarts_total") == 1
    assert value("ziggurat_image_worker_restarts_total") == 1
    assert value("ziggurat_entropy_symbols_total", {"direction": "compress"}) == 1000


def test_a_running_app_shows_every_series_from_the_start(client: TestClient) -> None:
    answer = client.get("/metrics")
    families = {family.name: family for family in text_string_to_metric_families(answer.text)}

    assert answer.headers["content-type"].startswith("text/plain; version=")
    assert all(name.startswith(("ziggurat_", "process_")) for name in families)
    assert all(family.documentation for family in families.values())
    assert {sample.labels["model"] for sample in families["ziggurat_model_info"].samples} == {
        "visual",
        "ms-ssim",
        "psnr",
        "post-files",
        "post-psnr",
    }
    assert {"overloaded", "image-too-large"} <= {
        sample.labels["reason"] for sample in families["ziggurat_rejected"].samples
    }
    routes = {sample.labels["route"] for sample in families["ziggurat_requests"].samples}
    assert {"/compress", "/decompress/{stream_id}", "/bitstreams/{stream_id}/info"} <= routes


def test_the_metrics_of_all_workers_stand_together_and_who_is_missing_is_told() -> None:
    first, third = Metrics(), Metrics()
    for metrics in (first, third):
        metrics.refused("overloaded")
    parts = {worker: asyncio.run(metrics.families()) for worker, metrics in ((2, third), (0, first))}
    text = generate_latest(OfWorkers(parts, [0, 1, 4])).decode()

    families = {family.name: family for family in text_string_to_metric_families(text)}
    values = {
        name: {sample.labels["worker"]: sample.value for sample in family.samples}
        for name, family in families.items()
    }
    assert values["ziggurat_worker_up"] == {"0": 1, "1": 0, "2": 1}
    assert values["ziggurat_worker_restarts"] == {"0": 0, "1": 1, "2": 4}
    assert values["ziggurat_rejected"] == {"0": 1, "2": 1}
    assert text.count("# TYPE ziggurat_rejected_total counter") == 1
    assert families["ziggurat_batch_images"].type == "histogram"
