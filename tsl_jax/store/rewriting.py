"""Losses of any source written as whole trajectories, a block of tokens at a time."""

import contextlib
import functools
import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import zarr

from ..presentation import presented
from .encodings import plain_attributes
from .errors import ChunkError, StoreError, storage_errors, writing
from .imports.incoming import IncomingLosses
from .location import Location, StoreLike, locate
from .lock import writer_lock
from .losses import LossStore, open_losses_at
from .own_files import remove_partial_files
from .presence import list_objects
from .reading import Absent, read_rows
from .resumption import resumed_losses
from .run_mark import end_runs
from .token_copies import copied_here, copy_tokens, decoded_dtype, read_as_rows, read_column
from .unfinished import (
    BLOCK_BYTES,
    LossPlan,
    UnfinishedLosses,
    as_dtype,
    begin_losses,
    checked_dtype,
    refuse_present,
    remove_group,
)

#: The group inside the target that holds the lock while a run writes.
_PLACE = "rechunking"
#: Tokens that a resumed run compares with the source before it goes on.
_COMPARED = 256


def write_trajectories(
    found: LossStore | IncomingLosses,
    target: StoreLike,
    *,
    dtype: Any = None,
    rows: tuple[int | None, int | None] = (None, None),
    memory: int = BLOCK_BYTES,
    progress: Callable[[int, int], None] | None = None,
    client: Any = None,
    reopen: tuple[Callable[[Any], LossStore | IncomingLosses], Any] | None = None,
) -> tuple[LossStore, bool]:
    """Copy losses into a new store; a run that was killed is gone on with. See `rechunk`.

    Args:
        found: where losses and coordinates are read.
        target: where to write.
        dtype: of the new losses; that of ``found`` by default.
        rows: tokens in a chunk and in a shard; see `create_losses`.
        memory: bytes of losses in memory at a time.
        progress: called with the tokens done and all tokens.
        client: whose workers copy the losses; None: this process.
        reopen: what opens ``found`` in another process, given its source; and the source.

    Returns:
        The open new store, and whether anything was written: not where the target held just that already.

    Raises:
        StoreError: see `rechunk`.
    """
    elsewhere = None if client is None else presented("copying", client, reopen, target)
    location = locate(target, writable=True)
    losses = found.losses
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
    made = _finished(location, plan, found, memory)
    if made is not None:
        _tidy(location, place)
        return made, False
    refuse_present(location, _PLACE)
    with writing(location.name, "the new store", kept="Nothing is lost.", again="run the same command again"):
        zarr.open_group(place.store, path=place.path, mode="a", zarr_format=3)
    with writer_lock(place) as lock:
        end_runs(place)
        remove_partial_files(location)
        absent = _absent(found)
        resumed = resumed_losses(location, plan)
        if resumed is not None and not _goes_on(found, *resumed, absent):
            resumed = None
        unfinished, first = resumed or (begin_losses(location, plan), 0)
        if first and progress:
            progress(first, plan.shape[0])
        copying = copied_here if elsewhere is None else functools.partial(elsewhere, place, lock)
        how: Any = {"progress": progress, "first": first, "copying": copying}
        copy_tokens(losses, found.token_coordinates, unfinished, memory, absent, **how)
        return unfinished.finish(tidy=lambda: remove_group(place)), True


def _finished(
    location: Location,
    plan: LossPlan,
    found: LossStore | IncomingLosses,
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
        return made if all(_is_same(made, found, *block) for block in blocks) else None
    except ChunkError as error:
        if error.name.startswith(str(made.losses.store)):
            return None
        raise


def _is_same(made: LossStore, found: LossStore | IncomingLosses, start: int, stop: int) -> bool:
    absent = _absent(found)
    now = as_dtype(read_as_rows(found.losses, start, stop, absent[0]), made.losses.dtype)
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
    found: LossStore | IncomingLosses, unfinished: UnfinishedLosses, done: int, absent: tuple[Absent, Absent]
) -> bool:
    """Whether what a killed run wrote first and last is still what the source holds."""
    for start, stop in ((0, min(_COMPARED, done)), (max(0, done - _COMPARED), done)):
        try:
            written = read_rows(unfinished.losses, start, stop)
        except ChunkError:
            return False
        now = as_dtype(read_as_rows(found.losses, start, stop, absent[0]), written.dtype)
        if not np.array_equal(now, written, equal_nan=True):
            return False
    return True


def _attributes(array: Any) -> Mapping[str, Any]:
    return plain_attributes(array) if isinstance(array, zarr.Array) else {}


def _absent(found: LossStore | IncomingLosses) -> tuple[Absent, Absent]:
    """What a chunk of the losses, and of a coordinate, is that is not stored."""
    said = found.missing_chunks
    return ("refuse" if said == "refuse" else "nan"), ("fill" if said == "as-fill" else "refuse")
