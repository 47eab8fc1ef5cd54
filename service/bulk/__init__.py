"""Bulk work: a bucket or a folder of images to streams, on every core or GPU of a Ray cluster.

    names ── blocks ── pool of actors: read ── engine of the service ── streams/ab/abcd….zgt
                                                                    └── journal ── manifest.parquet

Names alone travel through Ray. Each actor reads the files that it is given and has the engine that
the service has, with its limits, its image workers and its batches; so streams and problems are the
same as over HTTP. What is finished is in the journal within seconds, and no run does it again.

Only `cluster` imports Ray.
"""

from __future__ import annotations


class BulkError(OSError):
    """The job cannot begin or go on. Its text is fit for users; what is finished stays."""
