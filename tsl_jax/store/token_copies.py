"""Losses of any chunks read as whole trajectories, and written so, a block of tokens at a time."""

import contextlib
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import zarr

from .answers import reason_of
from .encodings import encoding_of
from .errors import BadChunk, ChunkError, StoreError
from .imports.incoming import CheckpointColumns, LossMatrix
from .reading import Absent, read_rows
from .unfinished import BLOCK_BYTES, UnfinishedLosses

#: What losses are read from: (tokens, checkpoints).
Losses = zarr.Array | CheckpointColumns | LossMatrix
#: Rows transposed at a time, which stay in the processor's cache: some 15 times as fast as whole columns.
_TILE_ROWS = 4096


#: First token of each block, and one past the last, handed on in order as the losses of all before are written.
Copied = Generator[tuple[int, int], None, None]
#: Writes the losses of blocks of a store that was begun.
Copying = Callable[[Losses, UnfinishedLosses, Iterable[tuple[int, int]], Absent], Copied]


def copied_here(losses: Losses, target: UnfinishedLosses, blocks: Iterable[tuple[int, int]], absent: Absent) -> Copied:
    """`Copying` in this process."""
    for start, stop in blocks:
        copy_block(losses, target, start, stop, absent)
        yield start, stop


def copy_block(
    losses: Losses,
    target: UnfinishedLosses,
    start: int,
    stop: int,
    absent: Absent,
    *,
    check: Callable[[], None] | None = None,
) -> None:
    """Write the losses of consecutive tokens, whole shards; ``check`` may refuse once they are read."""
    with _going_on():
        block = read_as_rows(losses, start, stop, absent)
    if check is not None:
        check()
    target.write(start, block, {})


def copy_tokens(
    losses: Losses,
    tokens: Mapping[str, Any],
    target: UnfinishedLosses,
    memory: int = BLOCK_BYTES,
    absent: tuple[Absent, Absent] = ("refuse", "refuse"),
    *,
    progress: Callable[[int, int], None] | None = None,
    first: int = 0,
    copying: Copying = copied_here,
) -> None:
    """Fill a store that was begun from arrays of any chunks, from the token ``first`` on.

    Args:
        losses: (tokens, checkpoints).
        tokens: coordinates by name.
        target: the store.
        memory: bytes of losses at a time.
        absent: what a chunk of the losses, and of a coordinate, is that is not stored.
        progress: called with the tokens done and all tokens.
        first: the first token.
        copying: what writes the losses; coordinates are written here, as their chunks hold those of many blocks.
    """
    blocks = target.blocks(memory // 2, first)  # columns and rows of a block are in memory at once
    with contextlib.closing(copying(losses, target, blocks, absent[0])) as copied:
        for start, stop in copied:
            with _going_on():
                columns = {name: read_column(tokens[name], start, stop, absent[1]) for name in target.tokens}
            target.write_coordinates(start, stop, columns)
            target.record(stop)
            if progress:
                progress(stop, losses.shape[0])


@contextlib.contextmanager
def _going_on() -> Iterator[None]:
    """Say of a chunk that cannot be read that the run goes on where it was."""
    try:
        yield
    except ChunkError as error:
        cure = None if error.bad.absent else "Restore it and run the same command again: it goes on where it was."
        raise ChunkError(error.name, error.bad, cure) from error.__cause__


def decoded_dtype(array: Any) -> np.dtype:
    """Of a coordinate's numbers once they are decoded."""
    return encoding_of(array).decode(np.empty(0, array.dtype)).dtype if isinstance(array, zarr.Array) else array.dtype


def read_column(array: Any, start: int, stop: int, absent: Absent) -> np.ndarray:
    """Some values of a coordinate, decoded."""
    if not isinstance(array, zarr.Array):
        return np.asarray(array[start:stop])
    return encoding_of(array).decode(read_rows(array, start, stop, absent=absent))


def read_as_rows(array: Losses, start: int, stop: int, absent: Absent) -> np.ndarray:
    """Rows read a column of chunks at a time: decoded chunks may reach far beyond the rows that are wanted."""
    step = (array.shards or array.chunks)[1] if isinstance(array, zarr.Array) else array.columns_at_a_time
    if step >= array.shape[1]:
        return _some_columns(array, start, stop, slice(None), absent)
    dtype = decoded_dtype(array)
    columns = np.empty((array.shape[1], stop - start), dtype)
    for first in range(0, array.shape[1], step):
        last = min(first + step, array.shape[1])
        columns[first:last] = _some_columns(array, start, stop, slice(first, last), absent).T
    block = np.empty(columns.shape[::-1], dtype)
    for first in range(0, len(block), _TILE_ROWS):
        block[first : first + _TILE_ROWS] = columns[:, first : first + _TILE_ROWS].T
    return block


def _some_columns(array: Losses, start: int, stop: int, columns: slice, absent: Absent) -> np.ndarray:
    if isinstance(array, zarr.Array):
        return encoding_of(array).decode(read_rows(array, start, stop, absent=absent, columns=columns))
    try:
        return array.read(start, stop, columns)
    except (MemoryError, StoreError):
        raise
    except Exception as error:  # files raise what they like; all of it means "not readable"
        first, last, _ = columns.indices(array.shape[1])
        where = f"checkpoints {first} to {last - 1}"
        bad = BadChunk(array.basename, where, start, stop, f"{type(error).__name__}: {reason_of(error)}")
        raise ChunkError(str(array.store_path), bad) from error
