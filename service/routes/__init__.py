"""The endpoints, one module per resource."""

from . import (
    allocate,
    bitstreams,
    compress,
    decompress,
    encode,
    enhance,
    health,
    info,
    metrics,
    models,
    page,
    progress,
)

ROUTERS = tuple(
    module.router
    for module in (
        compress,
        allocate,
        decompress,
        enhance,
        encode,
        bitstreams,
        progress,
        info,
        models,
        health,
        metrics,
        page,
    )
)

__all__ = ["ROUTERS"]
