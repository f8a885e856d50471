"""Fitting blocks on all devices, each with its share of the rows."""

import dataclasses
import functools
import time
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec, SingleDeviceSharding

from ...curves import FAMILIES, Family
from ...fitting import FitOptions, NoiseModel, check_axis, chosen_kernel, fit, row_multiple
from ...fitting.far import is_far
from ...jax_switches import with_own_switches
from ...stream.blocks import Columns
from ...stream.kept_programs import compiled_for
from ...stream.plan import device_rows
from ...stream.rooms import ALIGNMENT, Rooms
from .columns import fit_columns

#: `jax.Device` objects; their class has no name that type checkers accept.
Devices = Sequence[Any]

_TOKENS = PartitionSpec("token")


class BlockFitter:
    """Fits blocks of one store: pads them to one shape, shards them over the devices, compiles once for each.

    Args:
        family: what is fitted.
        axis: (checkpoints,) values of the axis.
        dtype: dtype of the stored losses; they are cast on the device.
        options: how it is fitted.
        devices: where.

    Attributes:
        options: the same, with the kernel that was chosen.
    """

    def __init__(self, family: Family, axis: np.ndarray, dtype: Any, options: FitOptions, devices: Devices) -> None:
        self._dtype = jax.dtypes.canonicalize_dtype(dtype)
        self._has_float64 = jax.dtypes.canonicalize_dtype(np.float64) == np.float64
        self._num_checkpoints = len(axis)
        self.options = dataclasses.replace(options, kernel=chosen_kernel(family, options, self.result_dtype))
        self._job = (family, tuple(axis.tolist()), self.options, tuple(devices))
        self._multiple = options.block_size or row_multiple(family, self.options, self.result_dtype, len(axis))
        self._sharding = NamedSharding(Mesh(np.asarray(devices), ("token",)), _TOKENS)
        self._on_cpu = devices[0].platform == "cpu"
        self._rows, self._rooms = 0, Rooms()
        self._compiled: list[Any] = []
        self._noise: list[NoiseModel | None] = []

    @property
    def devices(self) -> Devices:
        """Where it fits."""
        return self._job[-1]

    @property
    def described(self) -> str:
        """Where it fits, in words, such as ``"2 x cpu"``."""
        return f"{len(self.devices)} x {self.devices[0].device_kind}"

    @property
    def result_dtype(self) -> np.dtype:
        """Dtype of the fits: float32, or float64 for float64 losses where JAX has it on."""
        return jnp.promote_types(self._dtype, jnp.float32)

    @property
    def event_dtype(self) -> np.dtype:
        """Dtype of the events' times: float64 where the fits' own cannot tell checkpoints apart."""
        family, axis = self._job[0], check_axis(self._job[0], np.asarray(self._job[1]))
        return np.dtype(np.float64) if is_far(family, axis, self.result_dtype) else self.result_dtype

    @property
    def row_multiple(self) -> int:
        """What the rows of a block are padded to a multiple of: whole engine blocks on every device."""
        return len(self._job[-1]) * self._multiple

    def pad_to(self, block_tokens: int, num_tokens: int) -> None:
        """Take blocks of a store from now on, of which each is padded to the same rows."""
        self._rows = device_rows(block_tokens, num_tokens, self.row_multiple)

    @with_own_switches
    def compile(self, block_tokens: int, num_tokens: int, noise: NoiseModel | None = None) -> float:
        """Compile for the blocks of a store, whose tokens share a noise model or none; returns the seconds it took."""
        start = time.perf_counter()
        # Arguments of the program, not constants of it: the next store's noise is another, the program the same.
        leaves = jax.tree.map(lambda values: np.asarray(values, self.result_dtype), noise)
        self._noise = [jax.device_put(leaves, device) for device in self._job[-1]]
        self.pad_to(block_tokens, num_tokens)
        self._compiled = _compile(*self._job, (self._rows, self._num_checkpoints), self._dtype, noise is not None)
        return time.perf_counter() - start

    def room(self) -> np.ndarray:
        """An array (rows, checkpoints), not set, that `put` brings to the devices as it is."""
        return self._rooms.room((self._rows, self._num_checkpoints), self._dtype)

    def put(self, losses: np.ndarray) -> jax.Array:
        """Bring a block to the devices, padded; may return before it is there, and be called from any thread.

        Args:
            losses: (tokens, checkpoints), at most as many as `pad_to` was told; not to be changed any more.
        """
        copied_by_jax = self._on_cpu and losses.ctypes.data % ALIGNMENT
        if len(losses) < self._rows or losses.dtype != self._dtype or copied_by_jax:
            padded = self.room()
            padded[: len(losses)], padded[len(losses) :] = losses, np.nan
            losses = padded
        with jax.enable_x64(self._has_float64):  # as where this was made, which may be another thread
            return jax.device_put(losses, self._sharding)

    @with_own_switches
    def __call__(self, losses: np.ndarray | jax.Array) -> Columns:
        """Start fitting a block; returns at once, with results (rows,) that are padded at the end.

        Args:
            losses: what `put` takes, or what it returned.
        """
        placed = losses if isinstance(losses, jax.Array) else self.put(losses)
        shards = placed.addressable_shards
        each = zip(self._compiled, shards, self._noise, strict=True)
        parts = [program(shard.data, noise) for program, shard, noise in each]
        result = jax.tree.map(
            lambda *leaves: jax.make_array_from_single_device_arrays((self._rows,), self._sharding, list(leaves)),
            *parts,
        )
        for leaf in jax.tree.leaves(result):
            leaf.copy_to_host_async()
        return result


@functools.lru_cache(maxsize=16)
def _compile(family, axis, options, devices, shape, dtype, with_noise) -> list[Any]:
    """The program of each device for one shape, kept for the next store with the same axis."""

    time_axis: Any = np.asarray(axis)

    def fit_rows(losses: jax.Array, noise: NoiseModel | None) -> Columns:
        return fit_columns(fit(family, time_axis, losses, options=options, noise=noise))

    # One program a device: XLA partitions a program for several by other passes, which change the last bits.
    rows = (shape[0] // len(devices), *shape[1:])
    usable = len(check_axis(family, time_axis))
    result_dtype = jnp.promote_types(dtype, jnp.float32)

    def lower(program: Any, device: Any) -> Any:
        def array(shape: tuple[int, ...], dtype: Any) -> jax.ShapeDtypeStruct:
            return jax.ShapeDtypeStruct(shape, dtype, sharding=SingleDeviceSharding(device))

        shapes = [(usable,), (usable,), (usable - 1,), (), (), (), ()]
        noise = NoiseModel(*(array(shape, result_dtype) for shape in shapes)) if with_noise else None  # type: ignore[arg-type]
        return program.lower(array(rows, dtype), noise)

    known = made_from(family, options, axis, rows, str(np.dtype(dtype)), with_noise)
    return compiled_for(devices, fit_rows, lower, "fit_rows", known)


def made_from(family: Family, *others: Any) -> tuple[Any, ...] | None:
    """What `compiled_for` keeps a program by; None for a family of the user's, whose lines may be anywhere."""
    return (family, *others) if type(family) in FAMILIES.values() else None
