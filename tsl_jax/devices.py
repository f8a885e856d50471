"""The devices that JAX finds, or in words why it finds none."""

import functools
from typing import Any

import jax


class NoDeviceError(RuntimeError):
    """JAX finds no device of the kind that it is told to use."""


def local_devices() -> list[Any]:
    """`jax.local_devices`, or in words why there are none.

    Raises:
        NoDeviceError: JAX is told to use a kind of device that is not here.
    """
    try:
        return jax.local_devices()
    except (RuntimeError, AssertionError) as error:  # JAX asserts that it has found one
        asked = getattr(jax.config, "jax_platforms", None)
        if not asked:
            raise
        raise NoDeviceError(
            f"JAX_PLATFORMS={asked}: JAX finds no such device here{f' ({error})' if str(error) else ''}; unset "
            "JAX_PLATFORMS or set it to cpu. NVIDIA's GPUs need their driver (nvidia-smi lists them) and tsl_jax[cuda]"
        ) from error


@functools.cache
def a_device() -> None:
    """Nothing, if there is a device at all; looked for once.

    Raises:
        NoDeviceError: as `local_devices`.
    """
    local_devices()
