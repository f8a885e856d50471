"""A map over a store: reading, computing and writing at the same time, block by block, with bounded queues."""

import dataclasses
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from typing import Any, Protocol

from ..store import BadChunk
from .ahead import READERS, pool, read_ahead
from .begun import Begun, Columns, Computing
from .plan import Block
from .reading import Input
from .stages import StageSeconds, Stopwatch

_WRITERS = 2


class Progress(Protocol):
    """Called with the tokens done so far and all tokens of the store."""

    def __call__(self, done: int, total: int, /) -> None: ...


@dataclasses.dataclass(frozen=True)
class StreamResult:
    """What streaming gives back: bad chunks, and the seconds of each stage."""

    bad_chunks: tuple[BadChunk, ...]
    stages: StageSeconds


def stream_blocks(
    read: Callable[[Block], Input],
    compute: Callable[[Any], Columns],
    write: Callable[[Input, Columns], None],
    blocks: Iterable[Block],
    *,
    progress: Callable[[int], None],
    begun: Begun | None = None,
) -> StreamResult:
    """Map the blocks of a store; a few are read ahead while one is computed and those before it are written.

    An error in any stage (and Ctrl-C) stops the others after the block they are at, and is raised as it is.

    Args:
        read: reads a block, decodes it and brings it to the devices; called by several threads.
        compute: starts the work on a block's losses and returns its results, which may not be there yet.
        write: writes the results of a block and records it as done; called by several threads.
        blocks: what to do, in order; asked for one by one, a few ahead.
        progress: called with the tokens of each block that is done.
        begun: blocks that are read or computed by now, by the same ``read`` and ``compute``.

    Returns:
        `StreamResult`.
    """
    begun = Begun(read) if begun is None else begun
    bad: list[BadChunk] = []
    stages, watch, last_ready = Counter[str](), Stopwatch(), 0.0
    written: deque[Future[tuple[int, float]]] = deque()

    def timed_write(block: Input, result: Columns) -> tuple[int, float]:
        started = time.perf_counter()
        write(block, result)
        return block.block.stop - block.block.start, time.perf_counter() - started

    with pool(READERS, "tsl-read") as readers, pool(_WRITERS, "tsl-write") as writers:
        reads = read_ahead(readers, begun.read, blocks)
        computing: deque[tuple[Input, Computing]] = deque()

        def pass_on() -> None:
            nonlocal last_ready
            block, result = computing.popleft()
            with watch.timing("waited_for_fit"):
                ready = result.wait()
            watch.add("fit", ready - max(result.started, last_ready))
            last_ready = ready
            while len(written) >= _WRITERS:
                count_written()
            written.append(writers.submit(timed_write, block, result.columns))

        def count_written() -> None:
            with watch.timing("waited_for_write"):
                tokens, seconds = written.popleft().result()
            watch.add("write", seconds)
            progress(tokens)

        while True:
            with watch.timing("waited_for_input"):
                block = next(reads, None)
            if block is None:
                break
            bad += block.bad
            stages.update(block.seconds)
            with watch.timing("waited_for_fit"):
                result = begun.computing(block.block) or Computing.begin(compute, block.losses)
            computing.append((dataclasses.replace(block, losses=None), result))
            if len(computing) > 1:
                pass_on()
        while computing:
            pass_on()
        while written:
            count_written()
    return StreamResult(tuple(bad), StageSeconds(**stages, **watch.seconds))
