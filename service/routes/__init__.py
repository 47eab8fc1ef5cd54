"""The endpoints, one module per resource."""

from . import allocate, bitstreams, compress, decompress, enhance, health, metrics, models

ROUTERS = tuple(
    module.router for module in (compress, allocate, decompress, enhance, bitstreams, models, health, metrics)
)

__all__ = ["ROUTERS"]
