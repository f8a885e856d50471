"""Making a loss store."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr

from ..arguments import as_array, known_array, whole_number
from .arrays import bitshuffled, create_array
from .attributes import as_json
from .errors import StoreError, StoreNotFoundError, writing
from .limits import limit_of
from .location import Location, StoreLike, locate
from .losses import LossStore, open_losses_at
from .names import as_store_errors, checked_names
from .own_files import refuse_foreign_files
from .schema import CHECKPOINT, FORMAT_VERSION, LOSS_DTYPES, TOKEN, UNFINISHED, first_fall, increases

_CHUNK_BYTES, _SHARD_BYTES, COORDINATE_CHUNK = 2**20, 2**25, 2**20


def create_losses(
    store: StoreLike,
    losses: npt.ArrayLike | tuple[int, int],
    *,
    checkpoints: Mapping[str, Any],
    tokens: Mapping[str, Any] | None = None,
    attributes: Mapping[str, Any] | None = None,
    dtype: Any = None,
    chunk_tokens: int | None = None,
    shard_tokens: int | None = None,
    overwrite: bool = False,
) -> LossStore:
    """Write a loss store, or an empty one to be filled by slices of `LossStore.losses`.

    Args:
        store: where; see `locate`.
        losses: (tokens, checkpoints) losses in nat, NaN = not measured; or that shape as a tuple, for a store to
            be filled.
        checkpoints: coordinates by name, one value a checkpoint: `step`, `tokens_seen`, `lr_sum`, or any
            other; at least one must increase.
        tokens: coordinates by name, one number a token (`domain`, `position`, `token_id`, ...). Give an empty
            store arrays too: their values are written now.
        attributes: group attributes, such as the names of the domains.
        dtype: float16, float32 or float64; by default that of ``losses``, float16 for an empty store.
        chunk_tokens: tokens in a chunk; by default chunks take about 1 MiB.
        shard_tokens: tokens in a shard, a multiple of ``chunk_tokens``; by default about 32 MiB. Writers that
            fill a store in parallel must each write whole shards.
        overwrite: whether to replace a loss store that is there.

    Returns:
        The open loss store; its array `losses` can be written: ``store.losses[0:1000] = ...``.

    Raises:
        StoreError: something is there already, or a length, size, dtype, name or axis is wrong. Its subclass
            `WriteError`: the store cannot be written, for example because the disk is full.

    Example:
        >>> import numpy as np, zarr
        >>> losses = np.array([[8.2, 5.1, 3.0], [8.1, np.nan, 7.9]], "float16")
        >>> store = create_losses(zarr.storage.MemoryStore(), losses, checkpoints={"step": [1, 10, 100]})
        >>> store.num_tokens, store.axes
        (2, ('step',))
    """
    if hasattr(store, "dtype"):
        raise StoreError("store: got an array, expected a path; store and losses seem to be swapped")
    with as_store_errors():
        values = None if _is_shape(losses) else known_array("losses", losses, None)
    shape, dtype = _shape_and_dtype(losses if values is None else values, dtype)
    rows = rows_of(shape, dtype.itemsize, chunk_tokens, shard_tokens)
    tokens = {} if tokens is None else tokens
    checked_names(tokens=tokens, checkpoints=checkpoints)
    tokens = {name: _known_to_zarr(f"tokens[{name!r}]", column) for name, column in tokens.items()}
    checkpoints = {name: _known_to_zarr(f"checkpoints[{name!r}]", column) for name, column in checkpoints.items()}
    check_coordinates(shape, tokens, checkpoints)
    given = as_json(attributes)
    location = locate(store, writable=True)
    with writing(location.name, "the loss store", kept="It is not complete.", again="write it with overwrite=True"):
        replaced = is_replaced(location, overwrite)
        own = {"tsl_kind": "losses", "tsl_version": FORMAT_VERSION, "coordinates": " ".join([*checkpoints, *tokens])}
        own = {**given, **own}
        group = zarr.create_group(location.store, path=location.path, attributes=own, overwrite=replaced, zarr_format=3)
        array = create_losses_array(group, shape, dtype, *rows)
        for name, column in checkpoints.items():
            create_array(group, name, values=column, dimension_names=(CHECKPOINT,))
        for name, column in tokens.items():
            chunks = (max(1, min(COORDINATE_CHUNK, len(column))),)
            create_array(group, name, values=column, chunks=chunks, dimension_names=(TOKEN,))
        location.consolidate()
        if values is not None:
            shard = rows[1]
            for start in range(0, shape[0], shard):
                array[start : start + shard] = values[start : start + shard].astype(dtype)
    return open_losses_at(location, location.open_group("r+"))


def create_losses_array(
    group: zarr.Group, shape: tuple[int, int], dtype: np.dtype, chunk: int, shard: int
) -> zarr.Array:
    """The array `losses` of whole trajectories, empty."""
    columns = max(1, shape[1])
    return create_array(
        group,
        "losses",
        shape=shape,
        dtype=dtype,
        chunks=(chunk, columns),
        shards=(shard, columns),
        fill_value=np.nan,
        compressors=bitshuffled(5),
        dimension_names=(TOKEN, CHECKPOINT),
        attributes={"units": "nat"},
    )


def rows_of(shape: tuple[int, int], itemsize: int, chunk: int | None, shard: int | None) -> tuple[int, int]:
    """Tokens in a chunk and in a shard."""
    row = max(1, shape[1]) * itemsize
    for name, rows in (("chunk_tokens", chunk), ("shard_tokens", shard)):
        if rows is not None:
            with as_store_errors():
                whole_number(name, rows)
    chunk = chunk or max(1, min(_CHUNK_BYTES // row, shape[0]))
    shard = shard or chunk * max(1, min(_SHARD_BYTES // (chunk * row), -(-shape[0] // chunk)))
    if shard % chunk:
        raise StoreError(f"shard_tokens: got {shard}, expected a multiple of chunk_tokens = {chunk}")
    most = limit_of("TSL_MAX_CHUNK_BYTES")
    for name, rows in (("chunk_tokens", chunk), ("shard_tokens", shard)):
        if rows * row > most:
            raise StoreError(
                f"{name}: got {rows:,} tokens, {rows * row:,} bytes that are held in memory whole, expected at most "
                f"{max(1, most // row):,} tokens; if that is meant, raise the environment variable TSL_MAX_CHUNK_BYTES"
            )
    return chunk, shard


def _shape_and_dtype(losses: Any, dtype: Any) -> tuple[tuple[int, int], np.dtype]:
    shape = losses.shape if isinstance(losses, np.ndarray) else losses
    if len(shape) != 2 or not all(isinstance(size, int | np.integer) and size >= 0 for size in shape):
        raise StoreError(
            f"losses: got shape {shape}, expected (tokens, checkpoints); flatten sequences and "
            "positions to one row a token"
        )
    try:
        own = losses.dtype if isinstance(losses, np.ndarray) else np.float16
        dtype = np.dtype(own if dtype is None else dtype).newbyteorder("=")
    except TypeError as error:
        raise StoreError(f"dtype: got {dtype!r}, expected {' or '.join(LOSS_DTYPES)}") from error
    if str(dtype) not in LOSS_DTYPES:
        expected = " or ".join(LOSS_DTYPES)
        raise StoreError(
            f"losses: got dtype {dtype}, expected {expected}; name one in dtype= if these are losses in nat"
        )
    return (int(shape[0]), int(shape[1])), dtype


def _is_shape(losses: Any) -> bool:
    """Whether it is a shape, not losses: a tuple of numbers."""
    return isinstance(losses, tuple) and not any(np.ndim(part) for part in losses)


def _known_to_zarr(name: str, column: Any) -> np.ndarray:
    """A coordinate; long doubles, for which Zarr has no name, as float64."""
    with as_store_errors():
        column = np.asarray(as_array(name, column))
    return column.astype(np.float64) if column.dtype == np.longdouble else column


def check_coordinates(shape: tuple[int, int], tokens: Mapping[str, Any], checkpoints: Mapping[str, np.ndarray]) -> None:
    """Raise unless coordinates have a number for each token or checkpoint, and steps increase.

    Raises:
        StoreError: which does not.
    """
    for length, what, columns in ((shape[0], "tokens", tokens), (shape[1], "checkpoints", checkpoints)):
        for name, values in columns.items():
            if values.shape != (length,) or values.dtype.kind not in "iufb":
                got = f"shape {values.shape} of dtype {values.dtype}"
                turned = what == "checkpoints" and values.shape == shape[:1]
                cure = "; losses seem to be transposed, with checkpoints first: pass losses.T" if turned else ""
                expected = f"{length} numbers, one for each of the {what}"
                raise StoreError(f"{what}[{name!r}]: got {got}, expected {expected}{cure}")
    if "step" in checkpoints and not increases(checkpoints["step"]):
        fall = first_fall(checkpoints["step"])
        raise StoreError(
            f"checkpoints['step']: {fall}; expected finite, strictly increasing values; sort the checkpoints "
            "and leave out repeated ones"
        )
    if not any(increases(values) for values in checkpoints.values()):
        raise StoreError(f"checkpoints: none of {list(checkpoints)} increases; expected 'step' or another axis, sorted")


def is_replaced(location: Location, overwrite: bool) -> bool:
    """Whether a loss store is there that is to be replaced; raises at anything else that is there."""
    try:
        group = location.open_group("r")
    except StoreNotFoundError:
        refuse_foreign_files(location)
        return False
    kind = group.attrs.get("tsl_kind")
    if not overwrite:
        raise StoreError(f"{location.name}: something is here already; pass overwrite=True to replace it")
    if kind not in ("losses", UNFINISHED):
        raise StoreError(f"{location.name}: holds tsl_kind={kind!r}, not losses, and is not replaced; delete it first")
    refuse_foreign_files(location)
    return True
