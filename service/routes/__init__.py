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
        info,
        models,
        health,
        metrics,
        page,
    )
)

__all__ = ["ROUTERS"]
