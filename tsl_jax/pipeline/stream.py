"""Reading, fitting and writing at the same time, block by block, with bounded queues."""

import dataclasses
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Literal, Protocol

import jax
import numpy as np

from ..lm import Category, Fit, Status
from ..store import (
    BadChunk,
    BlockState,
    FitWriter,
    LossStore,
    block_digest,
    read_rows,
    read_rows_with_gaps,
)
from ..store.lock import Lock
from .plan import Block


class Progress(Protocol):
    """Called with the tokens done so far and all tokens of the store."""

    def __call__(self, done: int, total: int, /) -> None: ...


_READERS, _WRITERS = 2, 2


@dataclasses.dataclass(frozen=True)
class Input:
    """A block as it was read.

    Attributes:
        block: which.
        losses: (tokens, checkpoints).
        coordinates: (tokens,) by name.
        digest: of the sampled values; see `tsl_jax.store.fingerprint`.
        bad: chunks that could not be read.
    """

    block: Block
    losses: np.ndarray
    coordinates: dict[str, np.ndarray]
    digest: int
    bad: tuple[BadChunk, ...]


@dataclasses.dataclass(frozen=True)
class StreamResult:
    """What streaming gives back: bad chunks, and the seconds in which a device was busy."""

    bad_chunks: tuple[BadChunk, ...]
    fit_seconds: float


def stream_blocks(
    losses: LossStore,
    writer: FitWriter,
    start_fit: Callable[[np.ndarray], Fit],
    blocks: Sequence[Block],
    *,
    lock: Lock,
    on_bad_chunk: Literal["stop", "skip"],
    progress: Callable[[int], None],
) -> StreamResult:
    """Fit blocks of a store; a few are read ahead while one is fitted and those before it are written.

    An error in any stage (and Ctrl-C) stops the others after the block they are at, and is raised as it is.

    Args:
        losses: where to read.
        writer: where to write.
        start_fit: starts the fit of a block and returns its results, which may not be there yet.
        blocks: what to do, in order.
        lock: checked before a block is counted as done.
        on_bad_chunk: whether a chunk that cannot be read ends the run, or only its tokens are lost.
        progress: called with the tokens of each block that is done.
    """
    bad: list[BadChunk] = []
    busy, last_ready = 0.0, 0.0
    written: deque[Future[int]] = deque()
    with _pool(_READERS, "tsl-read") as readers, _pool(_WRITERS, "tsl-write") as writers:
        reads = _read_ahead(readers, losses, blocks, on_bad_chunk)
        fitting: deque[tuple[Input, Fit, float]] = deque()

        def pass_on() -> None:
            nonlocal busy, last_ready
            block, result, started = fitting.popleft()
            jax.block_until_ready(result)
            now = time.perf_counter()
            busy += now - max(started, last_ready)
            last_ready = now
            while len(written) >= _WRITERS:
                progress(written.popleft().result())
            written.append(writers.submit(_write, writer, lock, block, result))

        for block in reads:
            bad += block.bad
            fitting.append((block, start_fit(block.losses), time.perf_counter()))
            if len(fitting) > 1:
                pass_on()
        while fitting:
            pass_on()
        while written:
            progress(written.popleft().result())
    return StreamResult(tuple(bad), busy)


class _pool:
    """A thread pool that, when its block ends with an error, drops what has not begun."""

    def __init__(self, threads: int, name: str) -> None:
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix=name)

    def __enter__(self) -> ThreadPoolExecutor:
        return self._executor

    def __exit__(self, kind: object, *_: object) -> None:
        self._executor.shutdown(wait=True, cancel_futures=kind is not None)


def _read_ahead(
    readers: ThreadPoolExecutor, losses: LossStore, blocks: Sequence[Block], on_bad_chunk: str
) -> Iterator[Input]:
    pending: deque[Future[Input]] = deque()
    for block in blocks:
        pending.append(readers.submit(_read, losses, block, on_bad_chunk))
        if len(pending) > _READERS:
            yield pending.popleft().result()
    while pending:
        yield pending.popleft().result()


def _read(losses: LossStore, block: Block, on_bad_chunk: str) -> Input:
    arrays = {"losses": losses.losses, **losses.token_coordinates}
    values, bad = {}, []
    for name, array in arrays.items():
        if on_bad_chunk == "skip":
            values[name], some = read_rows_with_gaps(array, block.start, block.stop)
            bad += some
        else:
            values[name] = read_rows(array, block.start, block.stop)
    rows = values.pop("losses")
    if bad:
        rows = rows.copy()
    for gap in bad:  # a coordinate that is lost makes its tokens unreadable too: the status is what tells
        rows[gap.start - block.start : gap.stop - block.start] = np.nan
    digest = block_digest(losses, block.start, block.stop, rows, values)
    return Input(block, rows, values, digest, tuple(bad))


def _write(writer: FitWriter, lock: Lock, block: Input, result: Fit) -> int:
    tokens = block.block.stop - block.block.start
    values = {name: np.asarray(array)[:tokens] for name, array in fit_columns(result).items()}
    if block.bad:
        values = {name: np.array(array) for name, array in values.items()}
        for gap in block.bad:
            _mark_unreadable(values, slice(gap.start - block.block.start, gap.stop - block.block.start))
    lock.check()
    writer.write(block.block.index, values | block.coordinates)
    lock.check()
    state = BlockState.WITH_BAD_CHUNKS if block.bad else BlockState.FINISHED
    writer.finish(block.block.index, state, block.digest, values["status"], values["category"])
    return tokens


def fit_columns(result: Fit) -> dict[str, jax.Array]:
    """The arrays of a fit, named as in a fit store."""
    return {
        **result.params,
        **{f"{name}_stderr": array for name, array in result.stderr.items()},
        "rss": result.rss,
        "r2": result.r2,
        "constant": result.constant,
        "num_points": result.num_points,
        "status": result.status,
        "category": result.category,
    }


def _mark_unreadable(values: dict[str, np.ndarray], rows: slice) -> None:
    for array in values.values():
        array[rows] = np.nan if array.dtype.kind == "f" else 0
    values["status"][rows] = Status.UNREADABLE
    values["category"][rows] = Category.NONE
