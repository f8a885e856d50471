"""Losses that are in no loss store yet, brought into one."""

import dataclasses
import functools
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from .errors import StoreError
from .imports.bundles import Wanted
from .imports.incoming import IncomingLosses
from .imports.objects import is_path
from .imports.sources import find_losses
from .imports.steps import Steps, given_checkpoints
from .imports.tokens import Tokens, given_tokens
from .location import StoreLike, locate
from .loss_creation import check_coordinates
from .losses import LossStore
from .names import checked_names
from .refusals import readable
from .rewriting import write_trajectories
from .schema import MissingChunks, checked_missing_chunks
from .unfinished import BLOCK_BYTES


class LossImportWarning(UserWarning):
    """Something in a source of losses was left out, or looks like no losses."""


#: Tokens that are looked at for losses that are none.
_SEEN = 1024


def import_losses(
    source: Any,
    out: StoreLike,
    *,
    steps: Steps | None = None,
    tokens: Tokens | None = None,
    array: str | None = None,
    transpose: bool = False,
    attributes: dict[str, Any] | None = None,
    dtype: Any = None,
    chunk_tokens: int | None = None,
    shard_tokens: int | None = None,
    memory: int = BLOCK_BYTES,
    missing_chunks: MissingChunks = "refuse",
    progress: Callable[[int, int], None] | None = None,
    client: Any = None,
) -> LossStore:
    """Write losses of any source into a loss store, which every command takes.

    Memory does not grow with the losses: of arrays a block of tokens is read at a time; tables are put in order in a
    temporary file. A run that is killed leaves no loss store behind; the next run with the same arguments goes on
    where it was, and ends with the same bytes.

    Args:
        source: what holds the losses, in nat; NaN, an empty cell and a masked value are losses that were not measured.
            An array (tokens, checkpoints) or (sequences, positions, checkpoints) of NumPy, JAX, PyTorch, Dask or
            xarray; a list of arrays (tokens,) or (sequences, positions), one a checkpoint; a mapping of them by step,
            or of `losses`, `step`, ... by name; a data frame; or paths: of arrays (``.npy``, ``.npz``, ``.pt``,
            ``.safetensors``, Zarr) or tables (Parquet, CSV), one of all checkpoints, one a checkpoint, or a folder.
        out: where the loss store goes; a path, a URL or a Zarr store that holds no store yet.
        steps: training steps of the checkpoints, (checkpoints,), where the source does not tell them: numbers; text
            such as ``"0,100,1000"``; a file; or coordinates by name, `step` among them.
        tokens: (tokens,) coordinates by name (`token_id`, `position`, `sequence`, `domain`, ...), or a file of them:
            a table of a row a token. Text becomes numbers, whose names are kept.
        array: name of the array, or column, that holds the losses, where it is none of the known ones.
        transpose: whether arrays of all checkpoints are (checkpoints, tokens).
        attributes: of the new store, such as a title.
        dtype: float16, float32 or float64; that of the source by default, float32 for bfloat16 and for text.
        chunk_tokens: tokens in a chunk; by default chunks take about 1 MiB.
        shard_tokens: tokens in a shard, a multiple of ``chunk_tokens``; by default about 32 MiB.
        memory: bytes of losses in memory at a time; at least one shard.
        missing_chunks: what chunks of a Zarr source are that are not stored; see `open_losses`.
        progress: called with the tokens done and all tokens after each block.
        client: copy in the workers of a cluster; see `tsl_jax.fit_store`. The source is then paths of arrays that all
            workers see, or URLs, and so is ``out``; each worker holds ``memory`` bytes of losses.

    Returns:
        The open loss store; if ``out`` holds just that already, nothing is written.

    Warns:
        LossImportWarning: something in the source was left out, or looks like no losses.

    Raises:
        StoreError: the source cannot be read, its losses, steps or tokens are not clear, or something is at ``out``.

    Example:
        >>> import numpy as np, zarr
        >>> losses = np.array([[8.2, 5.1, 3.0], [8.1, np.nan, 7.9]], "float16")
        >>> store = import_losses(losses, zarr.storage.MemoryStore(), steps=[1, 10, 100])
        >>> store.num_tokens, store.axis().tolist()
        (2, [1.0, 10.0, 100.0])
    """
    made, _, found = import_or_find(
        source,
        out,
        given=(steps, tokens, attributes),
        wanted=(array, transpose),
        dtype=dtype,
        rows=(chunk_tokens, shard_tokens),
        memory=memory,
        missing_chunks=missing_chunks,
        progress=progress,
        client=client,
    )
    for note in found.notes:
        warnings.warn(f"{found.name}: {note}", LossImportWarning, stacklevel=2)
    return made


def import_or_find(
    source: Any,
    out: StoreLike,
    *,
    given: tuple[Steps | None, Tokens | None, dict[str, Any] | None] = (None, None, None),
    wanted: tuple[str | None, bool] = (None, False),
    missing_chunks: MissingChunks = "refuse",
    client: Any = None,
    **how: Any,
) -> tuple[LossStore, bool, IncomingLosses]:
    """`import_losses`; whether anything was written; and what was found.

    Args:
        source: see `import_losses`.
        out: see `import_losses`.
        given: steps, tokens and attributes.
        wanted: the name of the array, and whether it is transposed.
        missing_chunks: see `import_losses`.
        client: see `import_losses`.
        **how: as `write_trajectories` takes it.
    """
    checked_missing_chunks(missing_chunks)
    if hasattr(out, "dtype") and hasattr(out, "shape"):
        swapped = "source and out seem to be swapped; " if is_path(source) else ""
        raise StoreError(
            f"out: got {type(out).__name__}, expected a path or a Zarr store: {swapped}call import_losses(losses, path)"
        )
    if isinstance(source, LossStore):
        raise StoreError(
            f"{source.name}: is a loss store already, which every function takes; rechunk writes it in another layout"
        )
    steps, tokens, attributes = given
    if attributes is not None and not isinstance(attributes, Mapping):
        raise StoreError(
            f"attributes: got {type(attributes).__name__}, expected values by name, such as {{'title': 'A'}}"
        )
    location = locate(out, writable=True)
    scratch = location.directory.parent if location.directory is not None else None
    with readable():
        opened = functools.partial(
            find_losses, wanted=Wanted(given_checkpoints(steps), *wanted), missing_chunks=missing_chunks
        )
        found = opened(source, scratch=scratch)
    if client is not None and found.held:
        raise StoreError(
            f"{found.name}: is a table, whose losses this process alone puts in order; expected arrays, of which each "
            "worker reads its part. Leave out client= (--workers, --scheduler)"
        )
    incoming = _with_given(found, tokens, attributes, missing_chunks)
    made, written = write_trajectories(incoming, out, client=client, reopen=(opened, source), **how)
    return made, written, dataclasses.replace(found, notes=(*found.notes, *_negative(made)))


def _negative(made: LossStore) -> list[str]:
    """What is said of losses that are log-probabilities, by the first of them."""
    seen = made.read(slice(0, _SEEN))
    measured = np.count_nonzero(~np.isnan(seen))
    few = 2 * np.count_nonzero(seen < 0) <= measured
    return [] if few else ["most losses are negative; if they are log-probabilities, import their negatives"]


def _with_given(
    found: IncomingLosses, tokens: Tokens | None, attributes: dict[str, Any] | None, missing_chunks: MissingChunks
) -> IncomingLosses:
    """With what was given of tokens in place of what was found; all coordinates checked."""
    with readable():
        columns, names = given_tokens(tokens)
    shape = (int(found.losses.shape[0]), int(found.losses.shape[1]))
    if 0 in shape:
        raise StoreError(
            f"{found.name}: holds no losses: {shape[0]} tokens at {shape[1]} checkpoints; check the source"
        )
    checkpoints = found.checkpoint_coordinates
    columns = {**found.token_coordinates, **columns}
    checked_names(tokens=columns, checkpoints=checkpoints)
    check_coordinates(shape, columns, checkpoints)
    return dataclasses.replace(
        found,
        token_coordinates=columns,
        attributes={**found.attributes, **names, **(attributes or {})},
        missing_chunks=missing_chunks,
    )
