"""The endpoints, one module per resource."""

from . import allocate, bitstreams, compress, decompress, health, metrics, models

ROUTERS = tuple(module.router for module in (compress, allocate, decompress, bitstreams, models, health, metrics))

__all__ = ["ROUTERS"]
