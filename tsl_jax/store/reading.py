"""Reading rows of an array so that one bad chunk is named, and costs only its own rows."""

import itertools

import numpy as np
import zarr

from .errors import BadChunk, ChunkError, reason_of


def read_rows(array: zarr.Array, start: int, stop: int) -> np.ndarray:
    """Rows ``start`` to ``stop`` of an array.

    Raises:
        ChunkError: a chunk is corrupted, its storage fails, or it is absent where absence cannot mean
            "missing"; the error names the first such chunk.
    """
    try:
        values = _read(array, start, stop)
    except ChunkError as whole:
        _, bad = _read_by_chunk(array, start, stop)
        if not bad:  # every chunk can be read by itself: a passing failure, told as it was
            raise
        raise ChunkError(str(array.store_path), bad[0]) from whole.__cause__
    absent = _absent_chunks(array, values, start)
    if absent:
        raise ChunkError(str(array.store_path), absent[0])
    return values


def read_rows_with_gaps(array: zarr.Array, start: int, stop: int) -> tuple[np.ndarray, list[BadChunk]]:
    """Rows ``start`` to ``stop`` with NaN (0 for integers) for the rows of bad chunks, and those chunks."""
    try:
        values = _read(array, start, stop)
    except ChunkError:
        return _read_by_chunk(array, start, stop)
    return _with_absent_as_gaps(array, values, start)


def row_ranges(array: zarr.Array, start: int, stop: int) -> list[tuple[int, int]]:
    """``start`` to ``stop`` cut at the borders of inner chunks: the smallest pieces that can be read."""
    rows = array.chunks[0]
    borders = [start, *range((start // rows + 1) * rows, stop, rows), stop]
    return list(itertools.pairwise(borders)) if stop > start else []


def _read(array: zarr.Array, start: int, stop: int) -> np.ndarray:
    try:
        return np.asarray(array[start:stop])
    except MemoryError:
        raise
    except Exception as error:  # codecs and storage raise what they like; all of it means "not readable"
        reason = f"{type(error).__name__}: {reason_of(error)}"
        raise ChunkError(str(array.store_path), _bad_chunk(array, start, stop, reason)) from error


def _read_by_chunk(array: zarr.Array, start: int, stop: int) -> tuple[np.ndarray, list[BadChunk]]:
    pieces, bad = [], []
    for first, last in row_ranges(array, start, stop):
        try:
            values, absent = _with_absent_as_gaps(array, _read(array, first, last), first)
        except ChunkError as error:
            values, absent = _gap(array, last - first), [error.bad]
        pieces.append(values)
        bad += absent
    return np.concatenate(pieces), bad


def _with_absent_as_gaps(array: zarr.Array, values: np.ndarray, start: int) -> tuple[np.ndarray, list[BadChunk]]:
    absent = _absent_chunks(array, values, start)
    if absent:
        values = values.copy()
        for bad in absent:
            values[bad.start - start : bad.stop - start] = _gap(array, bad.stop - bad.start)
    return values, absent


def _gap(array: zarr.Array, rows: int) -> np.ndarray:
    filler = np.nan if array.dtype.kind == "f" else 0
    return np.full((rows, *array.shape[1:]), filler, array.dtype)


def _bad_chunk(array: zarr.Array, start: int, stop: int, reason: str) -> BadChunk:
    stored_rows = (array.shards or array.chunks)[0]
    key = array.metadata.encode_chunk_key((start // stored_rows, *[0] * (array.ndim - 1)))
    return BadChunk(array.basename, f"{array.path}/{key}".lstrip("/"), start, stop, reason)


def _absent_chunks(array: zarr.Array, values: np.ndarray, start: int) -> list[BadChunk]:
    """Chunks of losses that hold nothing but a fill value that is a number.

    Zarr reads a chunk that is not stored as its fill value. NaN means "not measured"; with any other fill
    value the lost chunk would pass for measured losses.
    """
    if array.ndim != 2 or array.dtype.kind != "f" or np.isnan(array.fill_value) or values.size == 0:
        return []
    columns = array.chunks[1]
    reason = f"not stored (every value is the fill value {array.fill_value})"
    found = []
    for first, last in row_ranges(array, start, start + len(values)):
        for column in range(0, array.shape[1], columns):
            part = values[first - start : last - start, column : column + columns]
            if part[0, 0] == array.fill_value and np.all(part == array.fill_value):
                found.append(_bad_chunk(array, first, last, reason))
                break
    return found
