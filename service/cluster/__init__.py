"""The service on Ray Serve: `serve run service.cluster:app`.

    client ── HAProxy on each node ─┬─ replica: the whole app, one GPU or a share of the cores
                                    ├─ replica
                                    └─ replica          ── all of them ── one store

Ray starts, watches, replaces and counts the replicas. All else is the app's own: its batches, its
limits and its 429. Nothing here loads torch before a replica starts.
"""

from .application import app

__all__ = ["app"]
