"""Reading, fitting and writing at the same time, block by block, with bounded queues."""

import dataclasses
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Literal, Protocol

import jax
import numpy as np

from ..jobs.fit.columns import mark_unreadable, noted
from ..jobs.fit.fitter import BlockFitter, Columns
from ..store import BadChunk, BlockState, FitWriter, LossStore
from ..store.lock import Lock
from ..store.presence import Objects
from .plan import Block
from .reading import BlockReader, Input
from .stages import StageSeconds, Stopwatch


class Progress(Protocol):
    """Called with the tokens done so far and all tokens of the store."""

    def __call__(self, done: int, total: int, /) -> None: ...


READERS, _WRITERS = 2, 2


@dataclasses.dataclass(frozen=True)
class StreamResult:
    """What streaming gives back: bad chunks, and the seconds of each stage."""

    bad_chunks: tuple[BadChunk, ...]
    stages: StageSeconds


def stream_blocks(
    losses: LossStore,
    writer: FitWriter,
    fitter: BlockFitter,
    blocks: Sequence[Block],
    *,
    lock: Lock,
    on_bad_chunk: Literal["stop", "skip"],
    progress: Callable[[int], None],
    objects: Objects | None = None,
) -> StreamResult:
    """Fit blocks of a store; a few are read ahead while one is fitted and those before it are written.

    Blocks are read, decoded and brought to the devices by threads, fitted as they come, and written by other threads.
    An error in any stage (and Ctrl-C) stops the others after the block they are at, and is raised as it is.

    Args:
        losses: where to read.
        writer: where to write.
        fitter: compiled; starts the fit of a block and returns its results, which may not be there yet.
        blocks: what to do, in order.
        lock: checked before a block is counted as done.
        on_bad_chunk: whether a chunk that cannot be read ends the run, or only its tokens are lost.
        progress: called with the tokens of each block that is done.
        objects: the listing of the losses, for the digests of blocks.
    """
    bad: list[BadChunk] = []
    stages, watch, last_ready = Counter[str](), Stopwatch(), 0.0
    written: deque[Future[tuple[int, float]]] = deque()
    read = BlockReader(losses, fitter.put, on_bad_chunk, objects)
    with _pool(READERS, "tsl-read") as readers, _pool(_WRITERS, "tsl-write") as writers:
        reads = read_ahead(readers, read, blocks)
        fitting: deque[tuple[Input, Columns, float]] = deque()

        def pass_on() -> None:
            nonlocal last_ready
            block, result, started = fitting.popleft()
            with watch.timing("waited_for_fit"):
                jax.block_until_ready(result)
            now = time.perf_counter()
            watch.add("fit", now - max(started, last_ready))
            last_ready = now
            while len(written) >= _WRITERS:
                count_written()
            written.append(writers.submit(_write, writer, lock, block, result))

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
            started = time.perf_counter()
            with watch.timing("waited_for_fit"):  # some devices take a program only when the one before is done
                result = fitter(block.losses)
            fitting.append((dataclasses.replace(block, losses=None), result, started))
            if len(fitting) > 1:
                pass_on()
        while fitting:
            pass_on()
        while written:
            count_written()
    return StreamResult(tuple(bad), StageSeconds(**stages, **watch.seconds))


class _pool:
    """A thread pool that, when its block ends with an error, drops what has not begun."""

    def __init__(self, threads: int, name: str) -> None:
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix=name)

    def __enter__(self) -> ThreadPoolExecutor:
        return self._executor

    def __exit__(self, kind: object, *_: object) -> None:
        self._executor.shutdown(wait=True, cancel_futures=kind is not None)


def read_ahead(readers: ThreadPoolExecutor, read: Callable[[Block], Input], blocks: Sequence[Block]) -> Iterator[Input]:
    """Blocks in order, of which a few are read before they are asked for."""
    pending: deque[Future[Input]] = deque()
    for block in blocks:
        pending.append(readers.submit(read, block))
        if len(pending) > READERS:
            yield pending.popleft().result()
    while pending:
        yield pending.popleft().result()


def _write(writer: FitWriter, lock: Lock, block: Input, result: Columns) -> tuple[int, float]:
    """Write a block; returns its tokens, and the seconds that it took."""
    begun = time.perf_counter()
    tokens = block.block.stop - block.block.start
    values = {name: np.asarray(array)[:tokens] for name, array in result.items()}
    if block.bad:
        values = {name: np.array(array) for name, array in values.items()}
        for gap in block.bad:
            mark_unreadable(values, slice(gap.start - block.block.start, gap.stop - block.block.start))
    lock.check()
    writer.write(block.block.index, values | block.coordinates)
    lock.check()
    state = BlockState.WITH_BAD_CHUNKS if block.bad else BlockState.FINISHED
    writer.finish(block.block.index, state, block.digest, values["status"], values["category"], noted(values))
    return tokens, time.perf_counter() - begun
