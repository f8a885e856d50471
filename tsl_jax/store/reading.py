"""Reading rows of an array so that one bad chunk is named, and costs only its own rows."""

from typing import Any, Literal

import numpy as np
import zarr
from zarr.buffer import default_buffer_prototype

from .absent import absent_chunks, bad_chunk, row_ranges
from .errors import BadChunk, ChunkError, ReadMemoryError

#: What a chunk that is not stored is: an error, rows that were not measured, or what Zarr takes it for.
Absent = Literal["refuse", "nan", "fill"]


def read_rows(
    array: zarr.Array,
    start: int,
    stop: int,
    *,
    absent: Absent = "refuse",
    columns: slice = slice(None),
    into: np.ndarray | None = None,
) -> np.ndarray:
    """Rows ``start`` to ``stop`` of an array of one or two dimensions.

    Args:
        array: where to read.
        start: first row.
        stop: one past the last.
        absent: what a chunk that is not stored is: an error (``"refuse"``), NaN (``"nan"``), or the array's fill value
            (``"fill"``). One whose stored object is empty is always an error.
        columns: which columns of an array of two dimensions, without a step.
        into: an array of their shape and dtype, all columns, that is taken for them; only where chunks are absent they
            may come in another.

    Raises:
        ChunkError: a chunk is corrupted or absent, or its storage fails; the error names the first such chunk.
    """
    try:
        values = _read(array, start, stop, columns, into)
    except ChunkError as whole:
        _, bad = _read_by_chunk(array, start, stop, absent, columns)
        if not bad:  # every chunk can be read by itself: a passing failure, told as it was
            raise
        raise ChunkError(str(array.store_path), bad[0]) from whole.__cause__
    values, lost = _with_absent(array, values, start, absent, columns)
    if lost:
        raise ChunkError(str(array.store_path), lost[0])
    return values


def read_rows_with_gaps(
    array: zarr.Array, start: int, stop: int, *, absent: Absent = "refuse"
) -> tuple[np.ndarray, list[BadChunk]]:
    """Rows ``start`` to ``stop`` with NaN (0 for integers) for the rows of bad chunks, and those chunks."""
    try:
        values = _read(array, start, stop, slice(None))
    except ChunkError:
        return _read_by_chunk(array, start, stop, absent, slice(None))
    return _with_absent(array, values, start, absent, slice(None))


def _read(array: zarr.Array, start: int, stop: int, columns: slice, into: np.ndarray | None = None) -> np.ndarray:
    try:
        if into is not None:
            room = default_buffer_prototype().nd_buffer.from_numpy_array(into)
            return np.asarray(array.get_basic_selection(slice(start, stop), out=room))
        return np.asarray(array[start:stop] if columns == slice(None) else array[start:stop, columns])
    except MemoryError as error:
        raise ReadMemoryError(str(array.store_path), start, stop) from error
    except Exception as error:  # codecs and storage raise what they like; all of it means "not readable"
        raise ChunkError(str(array.store_path), bad_chunk(array, start, stop, error, columns.start or 0)) from error


def _read_by_chunk(
    array: zarr.Array, start: int, stop: int, absent: Absent, columns: slice
) -> tuple[np.ndarray, list[BadChunk]]:
    pieces, bad = [], []
    for first, last in row_ranges(array, start, stop):
        try:
            values, lost = _with_absent(array, _read(array, first, last, columns), first, absent, columns)
        except ChunkError as error:
            width = _width(array, columns)
            values, lost = _gap(array, (last - first, *width)), [error.bad]
        pieces.append(values)
        bad += lost
    return np.concatenate(pieces), bad


def _with_absent(
    array: zarr.Array, values: np.ndarray, start: int, absent: Absent, columns: slice
) -> tuple[np.ndarray, list[BadChunk]]:
    """The values with gaps for chunks that are absent, and those of them that count as bad."""
    lost = absent_chunks(array, values, start, columns)
    kept = [bad for bad, _ in lost if bad.absent and absent == "fill"]
    if len(lost) > len(kept):
        values = values.copy()
    bad: list[BadChunk] = []
    for one, place in lost:
        if one.absent and absent == "nan":
            values[place] = np.nan
        elif not one.absent or absent == "refuse":
            rows = place[0]
            values[rows] = _gap(array, values[rows].shape)
            if not bad or bad[-1].start != one.start:  # one for all columns of these rows
                bad.append(one)
    return values, bad


def _width(array: zarr.Array, columns: slice) -> tuple[int, ...]:
    return (len(range(*columns.indices(array.shape[1]))), *array.shape[2:]) if array.ndim > 1 else ()


def _gap(array: zarr.Array, shape: Any) -> np.ndarray:
    return np.full(shape, np.nan if array.dtype.kind == "f" else 0, array.dtype)
