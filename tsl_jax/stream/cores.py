"""All cores of a CPU: JAX runs the programs of one CPU device one after the other, mostly on one core."""

import contextlib
import os

#: Every device has a program of its own, which takes seconds and memory to compile.
MOST_CPU_DEVICES = 16


def share_out_the_cores(most: int = MOST_CPU_DEVICES) -> None:
    """Make JAX devices of CPU cores, with a thread each; to be called before JAX has started a device.

    Where the user has set the number of CPU devices, or JAX has started already, all stays as it is.

    Args:
        most: at most so many devices.
    """
    import jax

    flags = os.environ.get("XLA_FLAGS", "")
    if jax.config.values["jax_num_cpu_devices"] > 0 or "xla_force_host_platform_device_count" in flags:
        return
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    devices = min(cores, most)
    with contextlib.suppress(RuntimeError):  # there are devices already
        jax.config.update("jax_num_cpu_devices", devices)
        # Threads that XLA starts, read with its first device: what it hands to those without a program of their own
        # makes the others' half as dear again.
        os.environ.setdefault("NPROC", str(devices))
