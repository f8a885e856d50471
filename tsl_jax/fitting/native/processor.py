"""Which instructions this processor has."""

import platform
from pathlib import Path

#: Levels of the x86-64 family, the lowest first, by what /proc/cpuinfo calls the instructions that each adds. It lists
#: what the system supports too, such as the registers of AVX-512 (https://gitlab.com/x86-psABIs/x86-64-ABI, table 3.1).
LEVELS = {
    "x86-64-v2": {"cx16", "lahf_lm", "pni", "popcnt", "sse4_1", "sse4_2", "ssse3"},
    "x86-64-v3": {"abm", "avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "movbe"},
    "x86-64-v4": {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"},
}


def instruction_level(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """Of the x86-64 family its level, such as ``x86-64-v4``: the highest with all instructions; else the machine."""
    try:
        lines = cpuinfo.read_text().splitlines()
    except OSError:
        return platform.machine()
    flags = next((set(line.partition(":")[2].split()) for line in lines if line.startswith("flags")), set[str]())
    found = platform.machine()
    for level, added in LEVELS.items():
        if not added <= flags:
            break
        found = level
    return found


def compiler_flags(level: str) -> tuple[str, ...]:
    """What tells a compiler to use these instructions."""
    return (f"-march={level}",) if level in LEVELS else ()
