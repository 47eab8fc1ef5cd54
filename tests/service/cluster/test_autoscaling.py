"""Replicas by the pixels that wait."""

from __future__ import annotations

import pytest
from ray.serve._private.common import DeploymentID, ReplicaID
from ray.serve.config import AutoscalingConfig, AutoscalingContext, AutoscalingPolicy

from service.cluster.autoscaling import QUEUED_PIXELS, QueuedPixels

DEPLOYMENT = DeploymentID("Ziggurat", "ziggurat")


def context(*pixels: float, gone: float = 0.0) -> AutoscalingContext:
    """Replicas that report these pixels, and one that is gone and reported others."""
    replicas = [ReplicaID(str(number), DEPLOYMENT) for number in range(len(pixels))]
    reported = dict(zip(replicas, pixels, strict=True)) | {ReplicaID("gone", DEPLOYMENT): gone}
    return AutoscalingContext(
        deployment_id=DEPLOYMENT,
        deployment_name="Ziggurat",
        app_name="ziggurat",
        current_num_replicas=len(pixels),
        target_num_replicas=len(pixels),
        running_replicas=replicas,
        total_num_requests=0,
        total_queued_requests=0,
        aggregated_metrics={QUEUED_PIXELS: reported},
        raw_metrics=None,
        capacity_adjusted_min_replicas=1,
        capacity_adjusted_max_replicas=10,
        policy_state={},
        last_scale_up_time=None,
        last_scale_down_time=None,
        current_time=None,
        config=AutoscalingConfig(),
    )


@pytest.mark.parametrize(
    ("pixels", "wanted"),
    [((0.0,), 0), ((1.0,), 1), ((20e6,), 1), ((20e6, 20e6), 2), ((70e6, 5e6), 4), ((), 0)],
)
def test_each_replica_has_its_share(pixels: tuple[float, ...], wanted: int) -> None:
    assert QueuedPixels(target=20e6)(context(*pixels)) == (wanted, {})


def test_who_is_gone_does_not_count() -> None:
    assert QueuedPixels(target=20e6)(context(1.0, gone=1e9)) == (1, {})


def test_before_anything_is_reported_none_is_wanted() -> None:
    silent = context(1.0)
    silent.aggregated_metrics = None
    assert QueuedPixels(target=20e6)(silent) == (0, {})


def test_ray_finds_the_policy() -> None:
    name = f"{QueuedPixels.__module__}:{QueuedPixels.__name__}"
    policy = AutoscalingPolicy(policy_function=name, policy_kwargs={"target": 1})  # type: ignore[no-untyped-call]
    assert policy.get_policy() is QueuedPixels
