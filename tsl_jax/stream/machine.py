"""The devices of this machine, and what one can do at most: bytes copied and operations a second, measured."""

import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from ..devices import local_devices

#: Far beyond any cache, and within the memory of any device; a product that keeps a device busy for a while.
_COPIED_BYTES, _MATRIX = {"cpu": 2**28, "gpu": 2**31}, {"cpu": 2048, "gpu": 8192}


def copy_bandwidth(device: Any = None, seconds: float = 0.5) -> float:
    """Bytes a second that a device reads and writes when it copies a large array: both count.

    Args:
        device: a `jax.Device`; the first local one by default.
        seconds: about how long to measure; the fastest copy counts.
    """
    device = device or local_devices()[0]
    size = _COPIED_BYTES.get(device.platform, 2**28)
    array = jax.device_put(jnp.zeros(size // 4, jnp.float32), device)
    copy = jax.jit(lambda a: a + 1)
    return 2 * size / _fastest(lambda: copy(array), seconds)


def peak_flops(device: Any = None, seconds: float = 0.5) -> float:
    """Floating-point operations a second of a large float32 product of matrices, in full precision.

    Args:
        device: a `jax.Device`; the first local one by default.
        seconds: about how long to measure; the fastest product counts.
    """
    device = device or local_devices()[0]
    size = _MATRIX.get(device.platform, 2048)
    matrix = jax.device_put(jnp.ones((size, size), jnp.float32), device)
    product = jax.jit(lambda a: jnp.matmul(a, a, precision="highest"))
    return 2 * size**3 / _fastest(lambda: product(matrix), seconds)


def _fastest(run: Callable[[], jax.Array], seconds: float) -> float:
    """Least seconds of a run, over some time and at least three, after one that compiles."""
    jax.block_until_ready(run())
    times: list[float] = []
    while len(times) < 3 or sum(times) < seconds:
        begun = time.perf_counter()
        jax.block_until_ready(run())
        times.append(time.perf_counter() - begun)
    return min(times)
