"""Ray: a cluster that is there or one of this machine, its actors, and blocks of work through them.

The only module that imports Ray.
"""

from __future__ import annotations

import logging
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import pyarrow as pa

from .. import machine
from . import BulkError
from .actor import Actor
from .work import Share, Work

# Nothing is reported to Ray's makers, and an actor without a GPU does not hide those of others.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # what it says on stderr is for its makers

import ray
import ray._private.worker
import ray.data

_log = logging.getLogger(__name__)
_CORES = 4  # of an actor on CPUs: the engine runs so many batches at the same time
_NAMES_BYTES = 256 * 2**20  # of Ray's object store on this machine: it holds names alone


class Cluster:
    """A connection to Ray; `connected` makes it."""

    def share(self, device: str, cores: int = _CORES) -> Share:
        """Share the cluster out: an actor for every GPU, or for so many cores at most.

        Raises:
            BulkError: it has no GPU.
        """
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
        if device == "cpu":
            cores = max(1, min([cores, *(int(node["CPU"]) for node in nodes if node.get("CPU"))]))
            return Share(max(1, sum(int(node.get("CPU", 0)) // cores for node in nodes)), cores, 0)
        with_gpus = [node for node in nodes if node.get("GPU")]
        if not with_gpus:
            raise BulkError("the Ray cluster has no GPU; --device cpu uses its cores")
        cores = min(int(node.get("CPU", 0) // node["GPU"]) for node in with_gpus)
        return Share(sum(int(node["GPU"]) for node in with_gpus), max(1, cores), 1)

    def run(self, blocks: Sequence[pa.Table], work: Work, share: Share) -> Iterator[pa.Table]:
        """Have blocks of files done by a pool of actors.

        Yields:
            The rows of blocks as they are done.

        Raises:
            BulkError: the output fails, or no actor can start.
        """
        if not blocks:
            return
        # Two blocks at a time: the second begins while the last pictures of the first are at work.
        pool = ray.data.ActorPoolStrategy(
            size=min(share.actors, len(blocks)),
            max_concurrent_calls_per_actor=2,
            enable_true_multi_threading=True,
        )
        yield from self._through(
            ray.data.from_blocks(list(blocks)).map_batches(
                Actor,
                fn_constructor_args=(work,),
                batch_size=None,
                batch_format="pyarrow",
                compute=pool,
                num_cpus=share.cores,
                num_gpus=share.gpus or None,
            )
        )

    def map(
        self, blocks: Sequence[pa.Table], function: Callable[..., pa.Table], *arguments: object
    ) -> Iterator[pa.Table]:
        """Call a function with each table, on the cores of the cluster; yields what it returns."""
        if blocks:
            yield from self._through(
                ray.data.from_blocks(list(blocks)).map_batches(
                    function, fn_args=arguments, batch_size=None, batch_format="pyarrow"
                )
            )

    def _through(self, dataset: Any) -> Iterator[pa.Table]:
        try:
            for bundle in dataset.iter_internal_ref_bundles():
                yield from ray.get([entry.ref for entry in bundle.blocks])
        except ray.exceptions.RayError as error:
            raise _ours(error) from error


@contextmanager
def connected() -> Iterator[Cluster]:
    """Connect to the cluster that RAY_ADDRESS names, or start one on this machine for the `with`.

    Raises:
        BulkError: there is none.
    """
    address = os.environ.get("RAY_ADDRESS", "local")
    own: dict[str, Any] = {}
    if address == "local":
        own = {
            "num_cpus": max(1, int(machine.cores())),
            "include_dashboard": False,
            "object_store_memory": _NAMES_BYTES,
        }
    # Ray prints what befalls its actors to stdout, where results go.
    ray._private.worker.print_to_stdstream = _into_the_log
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Ray's own, for those who program it
        try:
            # Where there is no cluster, Ray ends the process, with words of its own.
            with _silence() if own else nullcontext():
                ray.init(address, log_to_driver=False, logging_level=logging.ERROR, **own)
        except (ConnectionError, RuntimeError, ValueError) as error:
            hint = "; RAY_AUTH_MODE=token, if it asks for a token" if address != "local" else ""
            raise BulkError(f"no Ray cluster at {address}: {error}{hint}") from error
        try:
            context = ray.data.DataContext.get_current()
            context.enable_progress_bars = False
            for handler in logging.getLogger("ray.data").handlers:
                handler.setLevel(logging.CRITICAL)
            yield Cluster()
        finally:
            ray.shutdown()


def _into_the_log(data: dict[str, Any], ignore_prefix: bool = False) -> Any:
    """Log lines that Ray would print."""
    _log.info("\n".join(data["lines"]))


@contextmanager
def _silence() -> Iterator[None]:
    """Send what the C++ of Ray says on stderr to nowhere; what matters of it is in exceptions."""
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _ours(error: BaseException) -> BulkError:
    """What a failure in an actor comes from. Ray keeps no cause, but its last words."""
    text = str(error).strip()
    told = re.findall(rf"{BulkError.__name__}: (.+)", text)
    return BulkError(told[-1] if told else f"Ray gave up: {text.splitlines()[0]}")
