"""What fits here, in words that tell apart what may differ in the last bits of a fit."""

import importlib.metadata
from typing import Any

import jax

from ...fitting.native import build_of, instruction_level
from ...stream.cores import threads_of_a_device


def describe_fitter(kernel: str, device: Any) -> dict[str, str]:
    """The kind of device, a CPU's instructions, whether XLA has several threads for each device of a CPU, the kernel
    and its build, and the version of jaxlib.

    Args:
        kernel: the name of a kernel that is chosen, ``"native"`` or ``"xla"``.
        device: a `jax.Device` that fits.
    """
    described = {"device": device.device_kind, "kernel": kernel, "jaxlib": importlib.metadata.version("jaxlib")}
    if device.platform == "cpu":
        described["instructions"] = instruction_level()
        described["threads"] = "one" if threads_of_a_device(jax.local_device_count("cpu")) == 1 else "several"
    if kernel != "xla":
        described["build"] = build_of(device.platform)
    return described
