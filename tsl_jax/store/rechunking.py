"""Losses of any chunks rewritten as whole trajectories, a block of tokens at a time."""

import contextlib
import json
from collections.abc import Callable, Mapping
from typing import Any, cast

import numpy as np
import zarr

from .checkpoint_arrays import CheckpointArrays, find_checkpoint_arrays
from .encodings import encoding_of, plain_attributes
from .errors import BadChunk, ChunkError, StoreError, reason_of, storage_errors, writing
from .location import Location, StoreLike, locate
from .lock import writer_lock
from .losses import LossStore, open_losses_at
from .presence import list_objects
from .reading import Absent, read_rows
from .schema import MissingChunks, checked_missing_chunks
from .unfinished import (
    BLOCK_BYTES,
    LossPlan,
    UnfinishedLosses,
    begin_losses,
    checked_dtype,
    refuse_present,
    remove_group,
    resumed_losses,
)

#: The group inside the target that holds the lock while a run writes.
_PLACE = "rechunking"
#: Rows transposed at a time, which stay in the processor's cache: some 15 times as fast as whole columns.
_TILE_ROWS = 4096
#: Tokens that a resumed run compares with the source before it goes on.
_COMPARED = 256


def rechunk(
    source: StoreLike | LossStore,
    target: StoreLike,
    *,
    dtype: Any = None,
    chunk_tokens: int | None = None,
    shard_tokens: int | None = None,
    memory: int = BLOCK_BYTES,
    missing_chunks: MissingChunks = "refuse",
    progress: Callable[[int, int], None] | None = None,
) -> LossStore:
    """Write losses anew in chunks of whole trajectories, the layout that fits are read from.

    Memory does not grow with the store: a block of tokens is read, a column of chunks at a time, and written as
    whole shards. A run that is killed leaves no loss store behind but an unfinished one. The next run with the same
    layout goes on where it was, if the source still begins and goes on the same there; else it begins anew.

    Args:
        source: a loss store, of any chunks; or one array a checkpoint, see `find_checkpoint_arrays`.
        target: where to write; a path, a URL or a Zarr store that holds no store yet.
        dtype: float16, float32 or float64; that of the source by default.
        chunk_tokens: tokens in a chunk; by default chunks take about 1 MiB.
        shard_tokens: tokens in a shard, a multiple of ``chunk_tokens``; by default about 32 MiB.
        memory: bytes of losses in memory at a time; at least one shard.
        missing_chunks: what chunks of the source are that are not stored; see `open_losses`. The new store holds them
            as they are said to be, so that nothing in it is missing.
        progress: called with the tokens done and all tokens after each block, and before the first if some are done.

    Returns:
        The open new store; if the target holds just that already, nothing is written.

    Raises:
        StoreError: the source holds no losses, or something is at the target already. Its subclasses: `ChunkError` (a
            chunk of the source cannot be read), `WriteError`, `LockedError` (another run is writing).

    Example:
        >>> import numpy as np, zarr
        >>> from tsl_jax.store import create_losses
        >>> columns, whole = zarr.storage.MemoryStore(), zarr.storage.MemoryStore()
        >>> _ = create_losses(columns, np.ones((6, 3), "float16"), checkpoints={"step": [0, 10, 20]}, chunk_tokens=1)
        >>> rechunk(columns, whole).chunk_tokens
        6
    """
    return rechunk_or_find(
        source,
        target,
        dtype=dtype,
        rows=(chunk_tokens, shard_tokens),
        memory=memory,
        missing_chunks=missing_chunks,
        progress=progress,
    )[0]


def rechunk_or_find(
    source: StoreLike | LossStore,
    target: StoreLike,
    *,
    dtype: Any,
    rows: tuple[int | None, int | None],
    memory: int = BLOCK_BYTES,
    missing_chunks: MissingChunks = "refuse",
    progress: Callable[[int, int], None] | None = None,
) -> tuple[LossStore, bool]:
    """`rechunk`, and whether anything was written: not where the target held just that already."""
    checked_missing_chunks(missing_chunks)
    found = source if isinstance(source, LossStore) else find_checkpoint_arrays(source, missing_chunks)
    found = found or _open_encoded(cast(StoreLike, source), missing_chunks)
    location = locate(target, writable=True)
    losses = found if isinstance(found, CheckpointArrays) else found.losses
    plan = LossPlan(
        (losses.shape[0], losses.shape[1]),
        checked_dtype(dtype or losses.dtype),
        checkpoints=found.checkpoint_coordinates,
        tokens={name: (_dtype(array), _attributes(array)) for name, array in found.token_coordinates.items()},
        attributes=found.attributes,
        rows=rows,
    )
    _ = plan.chunk_and_shard  # raises before anything is written
    place = Location(location.store, location.key(_PLACE), location.name)
    made = _finished(location, plan, losses, found, memory)
    if made is not None:
        _tidy(location, place)
        return made, False
    refuse_present(location, _PLACE)
    with writing(location.name, "the new store", kept="Nothing is lost.", again="run the same command again"):
        zarr.open_group(place.store, path=place.path, mode="a", zarr_format=3)
    with writer_lock(place):
        absent = _absent(found)
        resumed = resumed_losses(location, plan)
        if resumed is not None and not _goes_on(losses, *resumed, absent):
            resumed = None
        unfinished, first = resumed or (begin_losses(location, plan), 0)
        if first and progress:
            progress(first, plan.shape[0])
        copy_tokens(losses, found.token_coordinates, unfinished, memory, absent, progress=progress, first=first)
        return unfinished.finish(tidy=lambda: remove_group(place)), True


def _finished(
    location: Location,
    plan: LossPlan,
    losses: zarr.Array | CheckpointArrays,
    found: LossStore | CheckpointArrays,
    memory: int,
) -> LossStore | None:
    """The store at the target if it is just what would be written, every number of it; else None."""
    try:
        made = open_losses_at(location, location.open_group())
    except StoreError:
        return None
    layout = (made.losses.shape, made.losses.dtype, made.chunk_tokens, made.shard_tokens)
    attributes = json.loads(json.dumps(plan.all_attributes))
    if layout != (plan.shape, plan.dtype, *plan.chunk_and_shard) or made.attributes != attributes:
        return None
    steps, tokens = made.checkpoint_coordinates, made.token_coordinates
    if set(steps) != set(plan.checkpoints) or {name: tokens[name].dtype for name in tokens} != {
        name: kind for name, (kind, _) in plan.tokens.items()
    }:
        return None
    if not all(np.array_equal(steps[name], values) for name, values in plan.checkpoints.items()):
        return None
    size = max(1, memory // 2 // max(1, plan.shape[1] * plan.dtype.itemsize))
    blocks = [(start, min(start + size, plan.shape[0])) for start in range(0, plan.shape[0], size)]
    try:
        return made if all(_is_same(made, losses, found, *block) for block in blocks) else None
    except ChunkError as error:
        if error.name.startswith(str(made.losses.store)):
            return None
        raise


def _is_same(
    made: LossStore, losses: zarr.Array | CheckpointArrays, found: LossStore | CheckpointArrays, start: int, stop: int
) -> bool:
    absent = _absent(found)
    now = _read_columns(losses, start, stop, absent[0]).astype(made.losses.dtype)
    if not np.array_equal(now, made.read(slice(start, stop)), equal_nan=True):
        return False
    return all(
        _rows(found.token_coordinates[name], start, stop, absent[1]).tobytes()
        == made.read_coordinate(name, slice(start, stop)).tobytes()
        for name in made.token_coordinates
    )


def _tidy(location: Location, place: Location) -> None:
    """Do what a run that was killed in its last step had left to do."""
    if list_objects(place.store, place.path):
        with writing(location.name, "the end of the run", kept="The losses are whole."):
            zarr.open_group(place.store, path=place.path, mode="a", zarr_format=3)
        with writer_lock(place):
            remove_group(place)
        location.consolidate()
    elif zarr.open_group(location.store, path=location.path, mode="r").metadata.consolidated_metadata is None:
        with contextlib.suppress(*storage_errors()):  # a copy for other readers alone; the store may be read only
            location.consolidate()


def copy_tokens(
    losses: zarr.Array | CheckpointArrays,
    tokens: Mapping[str, Any],
    target: UnfinishedLosses,
    memory: int = BLOCK_BYTES,
    absent: tuple[Absent, Absent] = ("refuse", "refuse"),
    *,
    progress: Callable[[int, int], None] | None = None,
    first: int = 0,
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
    """
    for start, stop in target.blocks(memory // 2, first):  # columns and rows of a block are in memory at once
        try:
            columns = {name: _rows(tokens[name], start, stop, absent[1]) for name in target.tokens}
            block = _read_columns(losses, start, stop, absent[0])
        except ChunkError as error:
            cure = None if error.bad.absent else "Restore it and run the same command again: it goes on where it was."
            raise ChunkError(error.name, error.bad, cure) from error.__cause__
        target.write(start, block, columns)
        target.record(stop)
        if progress:
            progress(stop, losses.shape[0])


def _goes_on(
    losses: zarr.Array | CheckpointArrays, unfinished: UnfinishedLosses, done: int, absent: tuple[Absent, Absent]
) -> bool:
    """Whether what a killed run wrote first and last is still what the source holds."""
    for start, stop in ((0, min(_COMPARED, done)), (max(0, done - _COMPARED), done)):
        try:
            written = read_rows(unfinished.losses, start, stop)
        except ChunkError:
            return False
        now = _read_columns(losses, start, stop, absent[0]).astype(written.dtype)
        if not np.array_equal(now, written, equal_nan=True):
            return False
    return True


def _open_encoded(source: StoreLike, missing_chunks: MissingChunks) -> LossStore:
    """A loss store whose numbers may be stored in the ways of netCDF."""
    location = locate(source)
    return open_losses_at(location, location.open_group(), missing_chunks, encoded=True)


def _attributes(array: Any) -> Mapping[str, Any]:
    return plain_attributes(array) if isinstance(array, zarr.Array) else {}


def _dtype(array: Any) -> np.dtype:
    """Of a coordinate's numbers once they are decoded."""
    return encoding_of(array).decode(np.empty(0, array.dtype)).dtype if isinstance(array, zarr.Array) else array.dtype


def _absent(found: LossStore | CheckpointArrays) -> tuple[Absent, Absent]:
    """What a chunk of the losses, and of a coordinate, is that is not stored."""
    said = found.missing_chunks
    return ("refuse" if said == "refuse" else "nan"), ("fill" if said == "as-fill" else "refuse")


def _rows(array: Any, start: int, stop: int, absent: Absent) -> np.ndarray:
    if not isinstance(array, zarr.Array):
        return np.asarray(array[start:stop])
    return encoding_of(array).decode(read_rows(array, start, stop, absent=absent))


def _read_columns(array: zarr.Array | CheckpointArrays, start: int, stop: int, absent: Absent) -> np.ndarray:
    """Rows read a column of chunks at a time: decoded chunks may reach far beyond the rows that are wanted."""
    step = 1
    if isinstance(array, zarr.Array):
        step = (array.shards or array.chunks)[1]
        if step >= array.shape[1]:
            return encoding_of(array).decode(read_rows(array, start, stop, absent=absent))
    dtype = _dtype(array)
    columns = np.empty((array.shape[1], stop - start), dtype)
    for first in range(0, array.shape[1], step):
        last = min(first + step, array.shape[1])
        columns[first:last] = _some_columns(array, start, stop, slice(first, last), absent).T
    block = np.empty(columns.shape[::-1], dtype)
    for first in range(0, len(block), _TILE_ROWS):
        block[first : first + _TILE_ROWS] = columns[:, first : first + _TILE_ROWS].T
    return block


def _some_columns(
    array: zarr.Array | CheckpointArrays, start: int, stop: int, columns: slice, absent: Absent
) -> np.ndarray:
    if isinstance(array, zarr.Array):
        return encoding_of(array).decode(read_rows(array, start, stop, absent=absent, columns=columns))
    try:
        return array.read(start, stop, columns, absent)
    except (MemoryError, ChunkError):
        raise
    except Exception as error:  # files raise what they like; all of it means "not readable"
        where = f"checkpoints {columns.start} to {columns.stop - 1}"
        bad = BadChunk(array.basename, where, start, stop, f"{type(error).__name__}: {reason_of(error)}")
        raise ChunkError(str(array.store_path), bad) from error
