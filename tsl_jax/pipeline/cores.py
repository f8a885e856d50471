"""All cores of a CPU: JAX runs the programs of one CPU device one after the other, mostly on one core."""

import contextlib
import os

#: Every device has a program of its own, which takes seconds and memory to compile.
MOST_CPU_DEVICES = 16


def share_out_the_cores() -> None:
    """Make a JAX device of every CPU core, at most 16; to be called before JAX has started a device.

    Where the user has set the number of CPU devices, or JAX has started already, all stays as it is.
    """
    import jax

    flags = os.environ.get("XLA_FLAGS", "")
    if jax.config.values["jax_num_cpu_devices"] > 0 or "xla_force_host_platform_device_count" in flags:
        return
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with contextlib.suppress(RuntimeError):  # there are devices already
        jax.config.update("jax_num_cpu_devices", min(cores, MOST_CPU_DEVICES))
