"""A loss store of any chunks rewritten as whole trajectories."""

import functools
from collections.abc import Callable
from typing import Any

from .location import StoreLike, locate
from .losses import LossStore, open_losses_at, refuse_foreign_losses
from .rewriting import write_trajectories
from .schema import MissingChunks, checked_missing_chunks
from .unfinished import BLOCK_BYTES


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
    client: Any = None,
) -> LossStore:
    """Write losses anew in chunks of whole trajectories, the layout that fits are read from.

    Memory does not grow with the store: a block of tokens is read, a column of chunks at a time, and written as
    whole shards. A run that is killed leaves no loss store behind but an unfinished one. The next run with the same
    layout goes on where it was, if the source still begins and goes on the same there; else it begins anew.

    Args:
        source: a loss store, of any chunks. What is in no loss store yet is for `tsl_jax.import_losses`.
        target: where to write; a path, a URL or a Zarr store that holds no store yet.
        dtype: float16, float32 or float64; that of the source by default.
        chunk_tokens: tokens in a chunk; by default chunks take about 1 MiB.
        shard_tokens: tokens in a shard, a multiple of ``chunk_tokens``; by default about 32 MiB.
        memory: bytes of losses in memory at a time; at least one shard.
        missing_chunks: what chunks of the source are that are not stored; see `open_losses`. The new store holds them
            as they are said to be, so that nothing in it is missing.
        progress: called with the tokens done and all tokens after each block, and before the first if some are done.
        client: copy in the workers of a cluster; see `tsl_jax.fit_store`. Source and target are then paths that all
            workers see, or URLs; each worker holds ``memory`` bytes of losses.

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
        client=client,
    )[0]


def rechunk_or_find(
    source: StoreLike | LossStore, target: StoreLike, *, missing_chunks: MissingChunks = "refuse", **how: Any
) -> tuple[LossStore, bool]:
    """`rechunk`, and whether anything was written: not where the target held just that already.

    Args:
        source: see `rechunk`.
        target: see `rechunk`.
        missing_chunks: see `rechunk`.
        **how: as `write_trajectories` takes it.
    """
    checked_missing_chunks(missing_chunks)
    found = source if isinstance(source, LossStore) else _open_encoded(source, missing_chunks)
    reopen = functools.partial(_open_encoded, missing_chunks=missing_chunks), source
    return write_trajectories(found, target, reopen=reopen, **how)


def _open_encoded(source: StoreLike, missing_chunks: MissingChunks) -> LossStore:
    """A loss store whose numbers may be stored in the ways of netCDF."""
    location = locate(source)
    group = location.open_group()
    refuse_foreign_losses(location, group)
    return open_losses_at(location, group, missing_chunks, encoded=True)
