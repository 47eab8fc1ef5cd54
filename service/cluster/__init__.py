"""The service on Ray Serve: `serve run service.cluster:app`.

    client ── HAProxy on each node ─┬─ replica: the whole app, one GPU or a share of the cores
                                    ├─ replica
                                    └─ replica          ── all of them ── one store

Ray starts, watches, replaces and counts the replicas. All else is the app's own: its batches, its
limits and its 429. Nothing here loads torch before a replica starts.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .application import app

__all__ = ["app"]


def __getattr__(name: str) -> Any:
    """Look up `app` when it is asked for: Ray takes seconds to import."""
    if name == "app":
        from .application import app

        return app
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
