"""Loss stores of any chunks rewritten as whole trajectories, a block of tokens at a time."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import zarr

from .errors import BadChunk, ChunkError, StoreError, StoreNotFoundError, reason_of, writing
from .location import Location, StoreLike, locate
from .loss_creation import COORDINATE_CHUNK, create_losses_array, rows_of
from .losses import LossStore, open_losses, open_losses_at
from .reading import read_rows
from .schema import CHECKPOINT, FORMAT_VERSION, LOSS_DTYPES, TOKEN

#: What a loss store is called while it is being written: no reader takes it for one.
UNFINISHED = "unfinished losses"
_BLOCK_BYTES = 2**28
#: Rows transposed at a time, which stay in the processor's cache: some 15 times as fast as whole columns.
_TILE_ROWS = 4096


def rechunk(
    source: StoreLike | LossStore,
    target: StoreLike,
    *,
    dtype: Any = None,
    chunk_tokens: int | None = None,
    shard_tokens: int | None = None,
    memory: int = _BLOCK_BYTES,
    progress: Callable[[int, int], None] | None = None,
) -> LossStore:
    """Write a loss store anew in chunks of whole trajectories, the layout that fits are read from.

    Memory does not grow with the store: a block of tokens is read, a column of chunks at a time, and written as
    whole shards. A run that is killed leaves no loss store behind but an unfinished one, which the next run replaces.

    Args:
        source: a loss store, of any chunks.
        target: where to write; a path, a URL or a Zarr store that holds no store yet.
        dtype: float16, float32 or float64; that of the source by default.
        chunk_tokens: tokens in a chunk; by default chunks take about 1 MiB.
        shard_tokens: tokens in a shard, a multiple of ``chunk_tokens``; by default about 32 MiB.
        memory: bytes of losses in memory at a time; at least one shard.
        progress: called after each block with the tokens done and all tokens.

    Returns:
        The open new store.

    Raises:
        StoreError: the source is no loss store, or something is at the target already. Its subclasses: `ChunkError` (a
            chunk of the source cannot be read), `WriteError`.

    Example:
        >>> import numpy as np, zarr
        >>> from tsl_jax.store import create_losses
        >>> columns, whole = zarr.storage.MemoryStore(), zarr.storage.MemoryStore()
        >>> _ = create_losses(columns, np.ones((6, 3), "float16"), checkpoints={"step": [0, 10, 20]}, chunk_tokens=1)
        >>> rechunk(columns, whole).chunk_tokens
        6
    """
    source = source if isinstance(source, LossStore) else open_losses(source)
    location = locate(target, writable=True)
    refuse_present(location)
    unfinished = begin_losses(
        location,
        source.losses.shape,
        checked_dtype(dtype or source.losses.dtype),
        checkpoints=source.checkpoint_coordinates,
        tokens={name: (array.dtype, array.attrs.asdict()) for name, array in source.token_coordinates.items()},
        attributes=source.attributes,
        rows=(chunk_tokens, shard_tokens),
    )
    copy_tokens(source.losses, source.token_coordinates, unfinished, memory=memory, progress=progress)
    return unfinished.finish()


@dataclasses.dataclass(frozen=True)
class UnfinishedLosses:
    """A loss store that is being filled; it opens as one after `finish` alone.

    Attributes:
        location: where it is.
        group: its group.
        losses: (token, checkpoint), to be written in whole shards.
        tokens: token coordinates by name, to be written.
        attributes: what the group will say.
    """

    location: Location
    group: zarr.Group
    losses: zarr.Array
    tokens: Mapping[str, zarr.Array]
    attributes: Mapping[str, Any]

    @property
    def shard_tokens(self) -> int:
        """Tokens in a shard."""
        return (self.losses.shards or self.losses.chunks)[0]

    def blocks(self, memory: int = _BLOCK_BYTES) -> Iterator[tuple[int, int]]:
        """``(start, stop)`` of blocks of whole shards."""
        num_tokens, row = self.losses.shape[0], max(1, self.losses.shape[1]) * self.losses.dtype.itemsize
        rows = max(1, memory // row // self.shard_tokens) * self.shard_tokens
        yield from ((start, min(start + rows, num_tokens)) for start in range(0, num_tokens, rows))

    def write(self, start: int, losses: np.ndarray, tokens: Mapping[str, np.ndarray]) -> None:
        """Write consecutive tokens: their losses (tokens, checkpoints) and every coordinate.

        Raises:
            WriteError: the store did not take them.
        """
        stop = start + len(losses)
        place = f"tokens {start} to {stop - 1}"
        with writing(self.location.name, place, kept="The store is not complete.", again="run the same command again"):
            self.losses[start:stop] = losses.astype(self.losses.dtype, copy=False)
            for name, array in self.tokens.items():
                array[start:stop] = tokens[name]

    def finish(self, tidy: Callable[[], None] | None = None) -> LossStore:
        """Call it a loss store, and open it; ``tidy`` runs once it is one."""
        with writing(self.location.name, "its attributes", again="run the same command again"):
            self.group.attrs.put(dict(self.attributes))
            if tidy is not None:
                tidy()
            self.location.consolidate()
        return open_losses_at(self.location, self.location.open_group("r+"))


def begin_losses(
    location: Location,
    shape: tuple[int, ...],
    dtype: np.dtype,
    *,
    checkpoints: Mapping[str, np.ndarray],
    tokens: Mapping[str, tuple[np.dtype, Mapping[str, Any]]],
    attributes: Mapping[str, Any],
    rows: tuple[int | None, int | None] = (None, None),
) -> UnfinishedLosses:
    """Make the arrays of a loss store that does not open as one yet; an unfinished one that is there is replaced.

    Args:
        location: where; no other store may be there.
        shape: (tokens, checkpoints).
        dtype: of the losses.
        checkpoints: coordinates by name, (checkpoints,).
        tokens: dtype and attributes of each token coordinate by name.
        attributes: what the group says when it is finished.
        rows: tokens in a chunk and in a shard; see `create_losses`.
    """
    own = {"tsl_kind": "losses", "tsl_version": FORMAT_VERSION, "coordinates": " ".join([*checkpoints, *tokens])}
    num_tokens, num_checkpoints = shape
    chunk, shard = rows_of((num_tokens, num_checkpoints), dtype.itemsize, *rows)
    with writing(location.name, "the empty loss store", kept="Nothing is lost.", again="run the same command again"):
        group = zarr.open_group(location.store, path=location.path, mode="a", use_consolidated=False)
        group.attrs.put({"tsl_kind": UNFINISHED})
        for name in [name for name, _ in group.arrays()]:
            del group[name]
        losses = create_losses_array(group, (num_tokens, num_checkpoints), dtype, chunk, shard)
        for name, column in checkpoints.items():
            group.create_array(name, data=np.asarray(column), dimension_names=(CHECKPOINT,))
        size = max(1, min(COORDINATE_CHUNK // shard * shard or shard, num_tokens))
        columns = {
            name: group.create_array(
                name,
                shape=(num_tokens,),
                dtype=kind,
                chunks=(size,),
                dimension_names=(TOKEN,),
                attributes=dict(kept),
            )
            for name, (kind, kept) in tokens.items()
        }
    return UnfinishedLosses(location, group, losses, columns, {**attributes, **own})


def copy_tokens(
    losses: zarr.Array,
    tokens: Mapping[str, zarr.Array],
    target: UnfinishedLosses,
    *,
    memory: int = _BLOCK_BYTES,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Fill a store that was begun from arrays of any chunks."""
    for start, stop in target.blocks(memory // 2):  # columns and rows of a block are in memory at once
        columns = {name: read_rows(tokens[name], start, stop) for name in target.tokens}
        target.write(start, _read_columns(losses, start, stop), columns)
        if progress:
            progress(stop, losses.shape[0])


def checked_dtype(dtype: Any) -> np.dtype:
    """A dtype that losses may have.

    Raises:
        StoreError: it is another.
    """
    if str(np.dtype(dtype)) not in LOSS_DTYPES:
        raise StoreError(f"dtype: got {np.dtype(dtype)}, expected {' or '.join(LOSS_DTYPES)}")
    return np.dtype(dtype)


def refuse_present(location: Location) -> None:
    """Raise if the place of a new loss store holds any but an unfinished one.

    Raises:
        StoreError: something is there.
    """
    try:
        kind = location.open_group().attrs.get("tsl_kind")
    except StoreNotFoundError:
        return
    if kind != UNFINISHED:
        raise StoreError(f"{location.name}: holds tsl_kind={kind!r} already; delete it or give another place")


def _read_columns(array: zarr.Array, start: int, stop: int) -> np.ndarray:
    """Rows read a column of chunks at a time: decoded chunks may reach far beyond the rows that are wanted."""
    step = (array.shards or array.chunks)[1]
    if step >= array.shape[1] or not np.isnan(array.fill_value):
        return read_rows(array, start, stop)
    columns = np.empty((array.shape[1], stop - start), array.dtype)
    for first in range(0, array.shape[1], step):
        last = min(first + step, array.shape[1])
        try:
            columns[first:last] = np.asarray(array[start:stop, first:last]).T
        except MemoryError:
            raise
        except Exception as error:  # codecs and storage raise what they like; all of it means "not readable"
            where = f"{array.path}, checkpoints {first} to {last - 1}".lstrip("/")
            bad = BadChunk(array.basename, where, start, stop, f"{type(error).__name__}: {reason_of(error)}")
            raise ChunkError(str(array.store_path), bad) from error
    block = np.empty(columns.shape[::-1], array.dtype)
    for first in range(0, len(block), _TILE_ROWS):
        block[first : first + _TILE_ROWS] = columns[:, first : first + _TILE_ROWS].T
    return block
