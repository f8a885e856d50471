"""What a killed run left of a loss store that it was filling."""

from collections.abc import Mapping

import numpy as np
import zarr

from .arrays import storing_all
from .errors import ChunkError, StoreError
from .location import Location, arrays_of
from .presence import list_objects, lost_chunks
from .reading import read_rows
from .schema import CHECKPOINT, TOKEN, coordinates
from .unfinished import DONE, LossPlan, UnfinishedLosses


def resumed_losses(location: Location, plan: LossPlan) -> tuple[UnfinishedLosses, int] | None:
    """A store that a killed run left, and the tokens from the first on that it holds; None if there is none like it."""
    try:
        group = location.open_group("r+")
        arrays = arrays_of(group)
    except StoreError:
        return None
    done = group.attrs.get(DONE)
    losses, (chunk, shard) = arrays.get("losses"), plan.chunk_and_shard
    if losses is None or not isinstance(done, int) or not 0 < done <= plan.shape[0]:
        return None
    layout = (losses.shape, losses.dtype, losses.chunks[0], (losses.shards or losses.chunks)[0])
    arrays = {name: storing_all(array) for name, array in arrays.items()}
    losses = arrays["losses"]
    columns, steps = coordinates(arrays, TOKEN), coordinates(arrays, CHECKPOINT)
    alike = layout == (plan.shape, plan.dtype, chunk, shard) and (done % shard == 0 or done == plan.shape[0])
    alike = alike and {name: array.dtype for name, array in columns.items()} == {
        name: kind for name, (kind, _) in plan.tokens.items()
    }
    alike = alike and set(steps) == set(plan.checkpoints)
    if not alike or not _same_values(steps, plan.checkpoints):
        return None
    objects = list_objects(location.store, location.path)
    if objects is not None:  # what was lost since is written again
        lost = [bad.start for array in (losses, *columns.values()) for bad in lost_chunks(array, objects, 0, done)]
        done = min([done, *lost]) // shard * shard if lost else done
    if not all(_can_be_written_on(column, done) for column in columns.values()):
        return None
    return UnfinishedLosses(location, group, losses, columns, plan.all_attributes), done


def _can_be_written_on(column: zarr.Array, done: int) -> bool:
    """Whether the chunk of a coordinate that holds the next tokens can be read, as a part of it is kept."""
    first = done // column.chunks[0] * column.chunks[0]
    try:
        read_rows(column, first, min(first + column.chunks[0], column.shape[0]) if done % column.chunks[0] else first)
    except ChunkError:
        return False
    return True


def _same_values(arrays: Mapping[str, zarr.Array], values: Mapping[str, np.ndarray]) -> bool:
    try:
        return all(np.array_equal(read_rows(arrays[name], 0, len(known)), known) for name, known in values.items())
    except ChunkError:
        return False
