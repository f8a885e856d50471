"""Stores, block by block: plan, read ahead, devices, stages."""

from .blocks import Progress
from .plan import DEFAULT_MEMORY, Block, blocks_of, bytes_per_token, device_rows, plan_layout
from .stages import StageSeconds

__all__ = [
    "DEFAULT_MEMORY",
    "Block",
    "Progress",
    "StageSeconds",
    "blocks_of",
    "bytes_per_token",
    "device_rows",
    "plan_layout",
]
