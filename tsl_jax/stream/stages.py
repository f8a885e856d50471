"""Where a run's time goes: seconds of each stage, and what the others waited for."""

import contextlib
import dataclasses
import time
from collections.abc import Iterator


@dataclasses.dataclass(frozen=True)
class StageSeconds:
    """Seconds in which each stage of a stream worked; stages overlap, and two blocks may be read or written at once.

    Attributes:
        read: storage had been asked for bytes, and had not given all of them yet.
        decode: bytes became numbers, with the checks and checksums of a block.
        transfer: a block went from host to device.
        fit: a device was fitting.
        write: results went to the host and into the store.
        waited_for_input: in which the next block was not ready.
        waited_for_fit: in which results were not.
        waited_for_write: in which earlier blocks were not written.

    Example:
        >>> StageSeconds(read=0.1, decode=0.3, fit=9.0, waited_for_input=0.1, waited_for_fit=8.5).limit
        'fit'
    """

    read: float = 0.0
    decode: float = 0.0
    transfer: float = 0.0
    fit: float = 0.0
    write: float = 0.0
    waited_for_input: float = 0.0
    waited_for_fit: float = 0.0
    waited_for_write: float = 0.0

    @property
    def limit(self) -> str:
        """The stage that set the rate: the one that was waited for longest; of those before the fit the slowest."""
        waits = {"input": self.waited_for_input, "fit": self.waited_for_fit, "write": self.waited_for_write}
        slowest = max(waits, key=lambda name: waits[name])
        before = {"read": self.read, "decode": self.decode, "transfer": self.transfer}
        return max(before, key=lambda name: before[name]) if slowest == "input" else slowest


class Stopwatch:
    """Seconds by name, added up by one thread."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextlib.contextmanager
    def timing(self, name: str) -> Iterator[None]:
        """Add the time that the block takes."""
        begun = time.perf_counter()
        try:
            yield
        finally:
            self.add(name, time.perf_counter() - begun)

    def add(self, name: str, seconds: float) -> None:
        """Add seconds."""
        self.seconds[name] = self.seconds.get(name, 0.0) + seconds
