"""The first blocks of a job, read before its output is there, and the first of them computed while it is made."""

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import jax

from .plan import Block
from .reading import Input

#: Arrays (rows,) by name, as a store holds them; they may still be computed.
Columns = Mapping[str, jax.Array]


@dataclasses.dataclass
class Computing:
    """Results of a block, which may not be there yet.

    Attributes:
        columns: the results.
        started: when the work on them began, in seconds of `time.perf_counter`.
        ready: when they were seen to be there.
    """

    columns: Columns
    started: float
    ready: float | None = None

    @classmethod
    def begin(cls, compute: Callable[[Any], Columns], losses: Any) -> "Computing":
        """Start the work on a block."""
        started = time.perf_counter()  # some devices take a program only when the one before is done
        return cls(compute(losses), started)

    def wait(self) -> float:
        """When the results were there; returns then."""
        jax.block_until_ready(self.columns)
        if self.ready is None:
            self.ready = time.perf_counter()
        return self.ready


class Begun:
    """Blocks that are read, and the first of them computed, before a stream asks for them.

    An error is raised where the stream asks for what failed.

    Args:
        read: reads a block, as `stream_blocks` takes it.
        blocks: which, in order.
    """

    def __init__(self, read: Callable[[Block], Input], blocks: Sequence[Block] = ()) -> None:
        self._read, self._blocks = read, tuple(blocks)
        self._threads = ThreadPoolExecutor(len(self._blocks) + 2, thread_name_prefix="tsl-begin")
        self._reads = {block: self._threads.submit(read, block) for block in self._blocks}
        self._first: Future[Computing] | None = None

    def end(self) -> None:
        """Drop what has not begun, and wait for what has."""
        self._threads.shutdown(wait=True, cancel_futures=True)

    def compute(self, compute: Callable[[Any], Columns]) -> None:
        """Start the work on the first block as soon as it is read; returns at once."""
        if not self._blocks:
            return
        block = self._reads[self._blocks[0]]
        first = self._threads.submit(lambda: Computing.begin(compute, block.result().losses))
        self._threads.submit(lambda: first.result().wait())  # notes when the results were there
        self._first = first

    def forget(self) -> None:
        """Give nothing back of what was computed; what was read counts."""
        self._first = None

    def read(self, block: Block) -> Input:
        """A block, read by now or not."""
        begun = self._reads.pop(block, None)
        return self._read(block) if begun is None else begun.result()

    def computing(self, block: Block) -> Computing | None:
        """The results of a block whose work has been started; of any other None."""
        if self._first is None or block != self._blocks[0]:
            return None
        first, self._first = self._first, None  # nothing keeps the results once they are written
        return first.result()
