"""Arrays of NumPy, JAX and PyTorch, on any device, as NumPy's; and which process of a run this is."""

import sys
from typing import Any

import numpy as np

from ..arguments import kind_of


def to_numpy(value: Any) -> np.ndarray:
    """An array of any framework in NumPy; what NumPy has no dtype for, such as bfloat16, as float32.

    Example:
        >>> import jax.numpy as jnp
        >>> to_numpy(jnp.ones(2, "bfloat16")).dtype
        dtype('float32')
    """
    if hasattr(value, "detach") and hasattr(value, "cpu"):  # a tensor of PyTorch
        value = value.detach().cpu()
        if "bfloat" in str(value.dtype) or "float8" in str(value.dtype):
            value = value.float()
        return value.numpy()
    array = np.asarray(value)
    return array.astype(np.float32) if kind_of(array.dtype) == "f" and array.dtype.kind != "f" else array


def rank_and_ranks() -> tuple[int, int]:
    """Which process this is and how many there are, as torch.distributed or jax.distributed say; else 0 of 1.

    Neither is imported or started for it.
    """
    torch = sys.modules.get("torch")
    if torch is not None and torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    jax = sys.modules.get("jax")
    if jax is not None and jax.distributed.is_initialized():
        return jax.process_index(), jax.process_count()
    return 0, 1
