"""Losses of any chunks rewritten as whole trajectories, a block of tokens at a time."""

import contextlib
import json
from collections.abc import Callable, Mapping
from typing import Any, cast

import numpy as np
import zarr

from .checkpoint_arrays import CheckpointArrays, find_checkpoint_arrays
from .encodings import plain_attributes
from .errors import ChunkError, StoreError, storage_errors, writing
from .location import Location, StoreLike, locate
from .lock import writer_lock
from .losses import LossStore, open_losses_at
from .own_files import remove_partial_files
from .presence import list_objects
from .rank_columns import find_rank_columns
from .reading import Absent, read_rows
from .resumption import resumed_losses
from .schema import MissingChunks, checked_missing_chunks
from .token_copies import copy_tokens, decoded_dtype, read_as_rows, read_column
from .unfinished import (
    BLOCK_BYTES,
    LossPlan,
    UnfinishedLosses,
    begin_losses,
    checked_dtype,
    refuse_present,
    remove_group,
)

#: The group inside the target that holds the lock while a run writes.
_PLACE = "rechunking"
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
        source: a loss store, of any chunks; or one array a checkpoint, see `find_checkpoint_arrays`; or what
            `tsl.LossWriter` wrote.
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
    found = source if isinstance(source, LossStore) else _columns(source, missing_chunks)
    found = found or _open_encoded(cast(StoreLike, source), missing_chunks)
    location = locate(target, writable=True)
    losses = found if isinstance(found, CheckpointArrays) else found.losses
    plan = LossPlan(
        (losses.shape[0], losses.shape[1]),
        checked_dtype(dtype or losses.dtype),
        checkpoints=found.checkpoint_coordinates,
        tokens={name: (decoded_dtype(array), _attributes(array)) for name, array in found.token_coordinates.items()},
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
        remove_partial_files(location)
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
    now = read_as_rows(losses, start, stop, absent[0]).astype(made.losses.dtype)
    if not np.array_equal(now, made.read(slice(start, stop)), equal_nan=True):
        return False
    return all(
        read_column(found.token_coordinates[name], start, stop, absent[1]).tobytes()
        == made.read_coordinate(name, slice(start, stop)).tobytes()
        for name in made.token_coordinates
    )


def _tidy(location: Location, place: Location) -> None:
    """Do what a run that was killed in its last step had left to do."""
    if list_objects(place.store, place.path):
        with writing(location.name, "the end of the run", kept="The losses are whole."):
            zarr.open_group(place.store, path=place.path, mode="a", zarr_format=3)
        with writer_lock(place):
            remove_partial_files(location)
            remove_group(place)
        location.consolidate()
    elif zarr.open_group(location.store, path=location.path, mode="r").metadata.consolidated_metadata is None:
        with contextlib.suppress(*storage_errors()):  # a copy for other readers alone; the store may be read only
            remove_partial_files(location)
            location.consolidate()


def _goes_on(
    losses: zarr.Array | CheckpointArrays, unfinished: UnfinishedLosses, done: int, absent: tuple[Absent, Absent]
) -> bool:
    """Whether what a killed run wrote first and last is still what the source holds."""
    for start, stop in ((0, min(_COMPARED, done)), (max(0, done - _COMPARED), done)):
        try:
            written = read_rows(unfinished.losses, start, stop)
        except ChunkError:
            return False
        now = read_as_rows(losses, start, stop, absent[0]).astype(written.dtype)
        if not np.array_equal(now, written, equal_nan=True):
            return False
    return True


def _columns(source: StoreLike, missing_chunks: MissingChunks) -> CheckpointArrays | None:
    """Losses by checkpoint: those of a training loop, or one array each."""
    return find_rank_columns(source) or find_checkpoint_arrays(source, missing_chunks)


def _open_encoded(source: StoreLike, missing_chunks: MissingChunks) -> LossStore:
    """A loss store whose numbers may be stored in the ways of netCDF."""
    location = locate(source)
    return open_losses_at(location, location.open_group(), missing_chunks, encoded=True)


def _attributes(array: Any) -> Mapping[str, Any]:
    return plain_attributes(array) if isinstance(array, zarr.Array) else {}


def _absent(found: LossStore | CheckpointArrays) -> tuple[Absent, Absent]:
    """What a chunk of the losses, and of a coordinate, is that is not stored."""
    said = found.missing_chunks
    return ("refuse" if said == "refuse" else "nan"), ("fill" if said == "as-fill" else "refuse")
