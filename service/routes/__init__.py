"""The endpoints, one module per resource."""

from . import allocate, bitstreams, compress, decompress, enhance, health, metrics, models, page

ROUTERS = tuple(
    module.router
    for module in (compress, allocate, decompress, enhance, bitstreams, models, health, metrics, page)
)

__all__ = ["ROUTERS"]
