"""Zarr arrays and groups that are no loss stores."""

import warnings
import zipfile
from typing import Any

import numpy as np
import zarr
import zarr.errors

from ..encodings import encoding_of
from ..errors import StoreError, storage_errors
from ..limits import check_sizes
from ..location import Location, StoreLike, arrays_of, locate
from ..rank_columns import losses_of_ranks
from ..reading import Absent, read_rows
from ..schema import BY_CHECKPOINT, UNFINISHED, MissingChunks, of_other_layout
from .files import ONLY
from .incoming import IncomingLosses
from .source_array import Index, SourceArray, plain_dtype
from .steps import step_in


def open_zarr(
    place: StoreLike, missing_chunks: MissingChunks
) -> dict[str, SourceArray] | list[tuple[str, dict]] | None:
    """The arrays of a Zarr group by name, or those of its groups if these are checkpoints; None if it is no Zarr.

    Raises:
        StoreError: it is a store of this package, or its metadata cannot be read.
    """
    location = locate(place)
    node = _node(location)
    if node is None:
        return None
    if isinstance(node, zarr.Array):
        return _arrays(location, {ONLY: node}, missing_chunks)
    _refuse_own(location, node)
    arrays = arrays_of(node)
    if not arrays:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", zarr.errors.ZarrUserWarning)  # other files may lie there
            groups = {name: group for name, group in sorted(node.groups()) if step_in(name) is not None}
        found = [(name, _arrays(location, arrays_of(group), missing_chunks)) for name, group in groups.items()]
        return found or None
    return _arrays(location, arrays, missing_chunks)


def open_by_rank(place: StoreLike) -> IncomingLosses | None:
    """What `LossWriter` wrote while a model trained; None if it is something else."""
    location = locate(place)
    node = _node(location)
    if not isinstance(node, zarr.Group) or node.attrs.get("tsl_kind") != BY_CHECKPOINT:
        return None
    return losses_of_ranks(location, node)


def _node(location: Location) -> zarr.Array | zarr.Group | None:
    try:
        return zarr.open_array(location.store, path=location.path, mode="r")
    except (ValueError, TypeError, KeyError, zipfile.BadZipFile, *storage_errors()):
        pass  # a group, or nothing, and why is said when it is opened as one
    try:
        return location.open_group()
    except FileNotFoundError:  # StoreNotFoundError is one
        return None


def _refuse_own(location: Location, group: zarr.Group) -> None:
    kind = group.attrs.get("tsl_kind")
    if kind == "losses" and of_other_layout(group):
        return
    if kind == "losses":
        raise StoreError(
            f"{location.name}: is a loss store already, which every command takes; tsl rechunk writes it in another "
            "layout"
        )
    if kind is not None:
        what = (
            "an unfinished loss store; run the command that writes it again" if kind == UNFINISHED else f"of {kind!r}"
        )
        raise StoreError(f"{location.name}: is a store {what}, expected losses that are in no loss store yet")


def _arrays(location: Location, arrays: dict[str, zarr.Array], missing_chunks: MissingChunks) -> dict[str, SourceArray]:
    for violation in check_sizes(arrays):
        raise StoreError(f"{location.name}: {violation}")
    return {name: of_zarr(location, name, array, missing_chunks) for name, array in arrays.items()}


def of_zarr(location: Location, name: str, array: zarr.Array, missing_chunks: MissingChunks) -> SourceArray:
    """A Zarr array, decoded."""
    encoding = encoding_of(array)
    dtype = encoding.decode(np.empty(0, array.dtype)).dtype if array.dtype.kind in "iufb" else array.dtype
    is_loss = dtype.kind == "f"
    absent: Absent = "refuse" if missing_chunks == "refuse" or not is_loss else "nan"
    if missing_chunks == "as-fill" and not is_loss:
        absent = "fill"
    named: Any = array.metadata.to_dict().get("dimension_names") or array.attrs.get("_ARRAY_DIMENSIONS")
    dims = tuple(named) if named else None
    columns = (array.shards or array.chunks)[-1] if array.ndim > 1 else 0
    return SourceArray(
        f"{location.name}/{name}", array.shape, plain_dtype(dtype), _Reader(array, encoding, absent), dims, columns
    )


class _Reader:
    """Rows, columns too of arrays of two or three dimensions, read as the store's own are."""

    def __init__(self, array: zarr.Array, encoding: Any, absent: Absent) -> None:
        self._array, self._encoding = array, encoding
        self._absent: Absent = absent

    def __call__(self, index: Index) -> np.ndarray:
        array = self._array
        if array.ndim == 0 or index is Ellipsis:
            return self._encoding.decode(np.asarray(array[...]))
        rows, *others = index if isinstance(index, tuple) else (index,)
        start, stop, _ = rows.indices(array.shape[0])
        if array.ndim > 1 and others and isinstance(others[0], slice) and others[0] != slice(None):
            left, right, _ = others[0].indices(array.shape[1])
            columns, others = slice(left, right), [slice(None), *others[1:]]
            values = read_rows(array, start, stop, absent=self._absent, columns=columns)
        else:
            values = read_rows(array, start, stop, absent=self._absent)
        return self._encoding.decode(values[(slice(None), *others)])
