"""What fits here, in words that tell apart what may differ in the last bits of a fit."""

import importlib.metadata
import platform
from pathlib import Path
from typing import Any

import jax

from ...fitting.native import build_of
from ...stream.cores import threads_of_a_device

#: Levels of a processor of the x86-64 family, the highest first, by what they have that those below do not.
_LEVELS = {
    "x86-64-v4": {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"},
    "x86-64-v3": {"avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "movbe"},
    "x86-64-v2": {"cx16", "popcnt", "sse4_1", "sse4_2", "ssse3"},
}


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


def instruction_level(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """Which instructions a processor has: of the x86-64 family its level, such as ``x86-64-v4``."""
    try:
        lines = cpuinfo.read_text().splitlines()
    except OSError:
        return platform.machine()
    flags = next((set(line.partition(":")[2].split()) for line in lines if line.startswith("flags")), set[str]())
    return next((level for level, needed in _LEVELS.items() if needed <= flags), platform.machine())
