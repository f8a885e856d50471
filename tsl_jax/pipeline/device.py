"""Fitting blocks on all devices with one compiled program."""

import functools
import time
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from ..curves import Family
from ..lm import Fit, FitOptions, fit, tile_size
from .plan import device_rows

#: `jax.Device` objects; their class has no name that type checkers accept.
Devices = Sequence[Any]

_TOKENS = PartitionSpec("token")


class BlockFitter:
    """Fits blocks of one store: pads them to one shape, shards them over the devices, compiles once.

    Args:
        family: what is fitted.
        axis: (checkpoints,) values of the axis.
        dtype: dtype of the stored losses; they are cast on the device.
        options: how it is fitted.
        devices: where.
    """

    def __init__(self, family: Family, axis: np.ndarray, dtype: Any, options: FitOptions, devices: Devices) -> None:
        self._dtype = jax.dtypes.canonicalize_dtype(dtype)
        self._num_checkpoints = len(axis)
        self._job = (family, tuple(axis.tolist()), options, tuple(devices))
        self._multiple = options.block_size or tile_size()
        self._sharding = NamedSharding(Mesh(np.asarray(devices), ("token",)), _TOKENS)
        self._rows = 0
        self._compiled: Any = None

    @property
    def result_dtype(self) -> np.dtype:
        """Dtype of the fits: float32, or float64 for float64 losses where JAX has it on."""
        return jnp.promote_types(self._dtype, jnp.float32)

    @property
    def row_multiple(self) -> int:
        """What the rows of a block are padded to a multiple of: whole engine blocks on every device."""
        return len(self._job[-1]) * self._multiple

    def compile(self, block_tokens: int, num_tokens: int) -> float:
        """Compile for the blocks of a store; returns the seconds it took."""
        start = time.perf_counter()
        self._rows = device_rows(block_tokens, num_tokens, self.row_multiple)
        self._compiled = _compile(*self._job, (self._rows, self._num_checkpoints), self._dtype)
        return time.perf_counter() - start

    def __call__(self, losses: np.ndarray) -> Fit:
        """Start fitting a block; returns at once, with results (rows,) that are padded at the end.

        Args:
            losses: (tokens, checkpoints), at most as many as it was compiled for.
        """
        if len(losses) < self._rows or losses.dtype != self._dtype:
            padded = np.full((self._rows, self._num_checkpoints), np.nan, self._dtype)
            padded[: len(losses)] = losses
            losses = padded
        result = self._compiled(jax.device_put(losses, self._sharding))
        for leaf in jax.tree.leaves(result):
            leaf.copy_to_host_async()
        return result


@functools.lru_cache(maxsize=16)
def _compile(family, axis, options, devices, shape, dtype) -> Any:
    """The program for one shape, kept for the next store with the same axis."""

    time_axis: Any = np.asarray(axis)

    def fit_rows(losses: jax.Array) -> Fit:
        return fit(family, time_axis, losses, options=options)

    mesh = Mesh(np.asarray(devices), ("token",))
    losses = jax.ShapeDtypeStruct(shape, dtype, sharding=NamedSharding(mesh, _TOKENS))
    sharded = jax.shard_map(fit_rows, mesh=mesh, in_specs=_TOKENS, out_specs=_TOKENS, check_vma=False)
    return jax.jit(sharded if len(devices) > 1 else fit_rows).lower(losses).compile()
