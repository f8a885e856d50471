"""How the kernel is laid out on a GPU: numbers that are the same method at another speed, kept for each kind of GPU."""

import dataclasses
import hashlib
import json
from pathlib import Path

from ...cache import compiled_folder


@dataclasses.dataclass(frozen=True)
class Launch:
    """Constants of the build for GPUs, by default guesses of what the cache of a multiprocessor feeds.

    `python -m benchmarks gpu --part tune` measures them on the GPU that is there, and keeps the best.
    """

    threads: int = 128  #: in a block of them, whole warps
    searches: int = 2  #: blocks that a multiprocessor has at a time while it searches; registers are shared out so
    fits: int = 4  #: the same while it takes steps
    measures: int = 4  #: the same while it measures solutions
    wide: int = 2  #: curves of a thread for which a template is loaded once

    def __post_init__(self) -> None:
        if self.threads % 32 or not all(isinstance(n, int) and n > 0 for n in dataclasses.astuple(self)):
            raise ValueError(f"expected whole numbers above 0, of threads multiples of 32; got {self}")

    def flags(self) -> tuple[str, ...]:
        """For the compiler."""
        return tuple(f"-DTSL_{name.upper()}={value}" for name, value in dataclasses.asdict(self).items())


DEFAULT = Launch()


def tuned(kind: str) -> Launch:
    """What was found best for this kind of GPU on this machine; where nothing was, the default."""
    path = _path(kind)
    try:
        return Launch(**json.loads(path.read_text())) if path else DEFAULT
    except (OSError, ValueError, TypeError):
        return DEFAULT


def keep(kind: str, launch: Launch) -> Path | None:
    """Remember it for processes that start from now on; where it is written, None where nothing can be kept."""
    path = _path(kind)
    try:
        if path:
            path.write_text(json.dumps(dataclasses.asdict(launch)))
    except OSError:  # a cache that can only be read
        return None
    return path


def _path(kind: str) -> Path | None:
    folder = compiled_folder("tuning")
    return folder and folder / f"{hashlib.sha256(kind.encode()).hexdigest()[:16]}.json"
