"""The option ``--devices``, and what stands behind it on a CPU."""

import contextlib
import os
from typing import Any

import typer

#: Every device has a program of its own, which takes seconds and memory to compile.
MOST_CPU_DEVICES = 16


def chosen_devices(number: int | None) -> Any:
    """So many of the local devices; None stands for all. To be called before JAX has started a device."""
    import jax

    share_out_the_cores()
    if number is None:
        return None
    there = jax.local_devices()
    if not 1 <= number <= len(there):
        raise typer.BadParameter(
            f"got {number}, expected 1 to {len(there)}, the devices that are here ({there[0].device_kind})",
            param_hint="--devices",
        )
    return there[:number]


def share_out_the_cores() -> None:
    """Make a JAX device of every CPU core: the programs of one device run one after the other, mostly on one core.

    Where the user has set the number of CPU devices, or JAX has started already, all stays as it is.
    """
    import jax

    flags = os.environ.get("XLA_FLAGS", "")
    if jax.config.values["jax_num_cpu_devices"] > 0 or "xla_force_host_platform_device_count" in flags:
        return
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with contextlib.suppress(RuntimeError):  # there are devices already
        jax.config.update("jax_num_cpu_devices", min(cores, MOST_CPU_DEVICES))
