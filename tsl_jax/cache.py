"""Where what is compiled for this machine is kept between runs."""

import hashlib
import os
import platform
from pathlib import Path


def compiled_folder(kind: str) -> Path | None:
    """A folder for programs of one kind in the user's cache (`XDG_CACHE_HOME`, else ``~/.cache``); None if there is no
    home, or none where it can be made. What is there may be read only.

    Machines that share a home but differ in their processors' instructions keep theirs apart.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"))
    folder = cache / "tsl_jax" / f"{kind}-{instruction_set()}"
    if not cache.is_absolute():
        return None  # no home is known: nothing is written below the working directory
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return folder


def instruction_set() -> str:
    """A short name of what this processor understands: programs compiled for another may crash on it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = [platform.processor()]
    known = [line for line in lines if line.startswith(("flags", "Features"))][:1] or lines[:1]
    return f"{platform.machine()}-{hashlib.sha256(''.join(known).encode()).hexdigest()[:12]}"
