"""All cores of a CPU: JAX runs the programs of one CPU device one after the other, mostly on one core."""

import contextlib
import os

from ..cache import keep_programs

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
    devices = min(_cores(), most)
    with contextlib.suppress(RuntimeError):  # there are devices already
        jax.config.update("jax_num_cpu_devices", devices)
        # Threads that XLA starts, read with its first device: what it hands to those without a program of their own
        # makes the others' half as dear again.
        os.environ.setdefault("NPROC", str(devices))


def threads_of_a_device(devices: int) -> int:
    """Threads that XLA has for each of so many CPU devices: where it has several, it writes another program."""
    threads = os.environ.get("NPROC", "")
    return max(1, (int(threads) if threads.isdecimal() else _cores()) // devices)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def tasks_at_a_time() -> int:
    """How many tasks run at a time in this process, which works for others: a Dask worker has a thread for each."""
    try:
        from distributed import get_worker

        return get_worker().state.nthreads
    except (ImportError, ValueError):
        return 1


def use_granted_cores(cores: int | None = None) -> None:
    """In a process that works for others: as many cores as it was granted, and the compiled programs that are kept.

    To be called before JAX has started a device; later it changes nothing of the devices.

    Args:
        cores: that it was granted; by default the threads of a Dask worker.
    """
    share_out_the_cores(max(1, min(cores or tasks_at_a_time(), MOST_CPU_DEVICES)))
    import jax

    keep_programs()
    folder = os.environ.get("JAX_COMPILATION_CACHE_DIR")
    # JAX read the environment when it was imported.
    if folder and jax.config.values["jax_compilation_cache_dir"] is None:
        jax.config.update("jax_compilation_cache_dir", folder)
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
