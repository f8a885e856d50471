"""Chunks that are not stored, told from chunks that hold the fill value.

Zarr reads a chunk that is not there as its fill value, so that lost losses look like "not measured" and a lost
coordinate like zeros. A chunk that holds nothing but its fill value is therefore read a second time, with another fill
value in the array's metadata: what is stored is read as before, what is absent as the other value. That holds for
chunks inside shards too, on every store, and costs nothing where a chunk holds anything else.
"""

import contextlib
import dataclasses
import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import zarr
from zarr.storage import StorePath

from .answers import cure_of, reason_of
from .errors import BadChunk, ChunkError, ReadMemoryError, storage_errors
from .event_loop import wait_for


def row_ranges(array: zarr.Array, start: int, stop: int) -> list[tuple[int, int]]:
    """``start`` to ``stop`` cut at the borders of inner chunks: the smallest pieces that can be read."""
    rows = array.chunks[0]
    borders = [start, *range((start // rows + 1) * rows, stop, rows), stop]
    return list(itertools.pairwise(borders)) if stop > start else []


def absent_chunks(
    array: zarr.Array, values: np.ndarray, start: int, columns: slice = slice(None)
) -> list[tuple[BadChunk, tuple[slice, ...]]]:
    """Chunks that are not stored, or stored as an empty object, among those just read.

    Args:
        array: where ``values`` come from, of one or two dimensions.
        values: its rows from ``start`` on, at ``columns``.
        start: the first row.
        columns: which columns of an array of two dimensions.

    Returns:
        Each such chunk, and where it is in ``values``.
    """
    if values.size == 0 or array.dtype.kind not in "iufb":
        return []
    found, other = [], None
    for rows, part_columns, place in _parts(array, values, start, columns):
        if _is_all_fill(values[place], array.fill_value):
            other = _with_other_fill(array) if other is None else other
            found += [(bad, place) for bad in _absent(array, other, rows, part_columns)]
    return found


def _parts(
    array: zarr.Array, values: np.ndarray, start: int, columns: slice
) -> Iterator[tuple[tuple[int, int], slice | None, tuple[slice, ...]]]:
    """Of each chunk, or part of one, that was read: its rows and columns, and where it is in ``values``."""
    for first, last in row_ranges(array, start, start + len(values)):
        rows = slice(first - start, last - start)
        if array.ndim == 1:
            yield (first, last), None, (rows,)
            continue
        left, right, _ = columns.indices(array.shape[1])
        width = array.chunks[1]
        borders = [left, *range((left // width + 1) * width, right, width), right]
        for one, next_one in itertools.pairwise(borders):
            yield (first, last), slice(one, next_one), (rows, slice(one - left, next_one - left))


def _is_all_fill(part: np.ndarray, fill: Any) -> bool:
    """Whether a chunk holds nothing but the fill value; few values tell most others from it."""
    if part.size == 0:
        return False
    fill = np.asarray(fill, part.dtype) if part.dtype.kind in "iufb" else fill
    missing = part.dtype.kind == "f" and bool(np.isnan(fill))
    pieces = (part[:1], part[-1:], part[len(part) // 2][None], part)
    return all(bool(np.all(np.isnan(piece) if missing else piece == fill)) for piece in pieces)


def _with_other_fill(array: zarr.Array) -> zarr.Array:
    """The same array with another value in the place of chunks that are not stored."""
    kind = array.dtype.kind
    if kind == "f":
        other: Any = array.dtype.type(1.0 if array.fill_value != 1 else 2.0)
    elif kind == "b":
        other = np.bool_(not array.fill_value)
    else:
        other = array.dtype.type(1 if array.fill_value != 1 else 2)
    metadata: Any = dataclasses.replace(array.metadata, fill_value=other)
    return zarr.Array(zarr.AsyncArray(metadata, StorePath(array.store, array.path)))


def _absent(array: zarr.Array, other: zarr.Array, rows: tuple[int, int], columns: slice | None) -> list[BadChunk]:
    first, last = rows
    left = columns.start if columns is not None else 0
    try:
        one = _first_value(other, first, last, columns)
    except ChunkError as error:
        return [error.bad]
    if one != other.fill_value:
        return []
    bad = bad_chunk(array, first, last, "not stored", left, absent=True)
    size = _stored_size(array, bad)
    if size == 0:
        return [dataclasses.replace(bad, reason="its stored object is empty, 0 bytes", absent=False)]
    return [bad if size is None else dataclasses.replace(bad, reason="not stored in its shard")]


def _first_value(array: zarr.Array, first: int, last: int, columns: slice | None) -> Any:
    left = columns.start if columns is not None else 0
    try:
        one = array[first : first + 1] if columns is None else array[first : first + 1, left : left + 1]
    except MemoryError as error:
        raise ReadMemoryError(str(array.store_path), first, last) from error
    except Exception as error:  # codecs and storage raise what they like; all of it means "not readable"
        raise ChunkError(str(array.store_path), bad_chunk(array, first, last, error, left)) from error
    return np.asarray(one).reshape(-1)[0]


def _stored_size(array: zarr.Array, bad: BadChunk) -> int | None:
    """Bytes of a stored object; None where there is none, or nothing can be said."""
    with contextlib.suppress(*storage_errors(), NotImplementedError):
        return wait_for(array.store.getsize(bad.chunk))
    return None


def bad_chunk(
    array: zarr.Array, start: int, stop: int, why: str | Exception, column: int = 0, *, absent: bool = False
) -> BadChunk:
    """Rows of an array that are lost, with the key of the object that holds them; ``why``: in words, or what failed."""
    if isinstance(why, str):
        reason, cure = why, None
    else:
        reason, cure = f"{type(why).__name__}: {reason_of(why)}", cure_of(why)
    stored = array.shards or array.chunks
    place = (start // stored[0], *([column // stored[1]] if array.ndim > 1 else []), *[0] * (array.ndim - 2))
    key = array.metadata.encode_chunk_key(place)
    return BadChunk(
        array.basename,
        f"{array.path}/{key}".lstrip("/"),
        start,
        stop,
        reason,
        absent,
        cure and f"{cure} and try again.",
    )
