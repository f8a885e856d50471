"""The checkpoint coordinates of losses, read and checked: one of them must be an axis."""

from collections.abc import Iterator, Mapping

import numpy as np
import zarr

from .errors import NOT_STORED_COORDINATE_CURE, ChunkError, Violation
from .far_requests import at_once
from .location import Location
from .reading import Absent, read_rows
from .schema import CHECKPOINT, KNOWN_AXES, coordinates, first_fall, increases


def check_axes(
    arrays: Mapping[str, zarr.Array], num_checkpoints: int, absent: Absent, read: dict[str, np.ndarray]
) -> Iterator[Violation]:
    """What the checkpoint coordinates of losses break of the schema.

    Args:
        arrays: of the group, by name.
        num_checkpoints: of the losses.
        absent: what a chunk is that is not stored.
        read: where the values are put, by name.
    """
    columns = coordinates(arrays, CHECKPOINT)
    for name, found in _read(columns, absent).items():
        if isinstance(found, np.ndarray):
            read[name] = found
            continue
        bad = found.bad
        cure = NOT_STORED_COORDINATE_CURE if bad.absent else bad.cure or "Restore it."
        yield Violation(name, f"cannot be read: {bad.chunk}: {bad.reason}", "its values", cure)
    if not (set(KNOWN_AXES) & set(arrays)) and not any(increases(values) for values in read.values()):
        yield Violation(
            "step",
            "no such array, nor another that increases over 'checkpoint'",
            f"the training step of each of the {num_checkpoints} checkpoints",
            "Write a one-dimensional array 'step' with dimension_names=('checkpoint',).",
        )
    for name in KNOWN_AXES:
        array, values = arrays.get(name), read.get(name)
        if array is None:
            continue
        if array.dtype.kind not in "iuf" or array.ndim != 1:
            yield Violation(
                name,
                f"{array.ndim}-d of dtype {array.dtype}",
                "one real number a checkpoint",
                "Write numbers.",
            )
            continue
        if values is None:
            continue
        if name == "lr_sum" and np.all(np.isfinite(values)) and np.all(values[1:] >= values[:-1]):
            continue  # a learning rate of 0 between two checkpoints: no axis, but no error
        if not increases(values):
            yield Violation(
                name,
                f"does not increase: {first_fall(values)}",
                "finite, strictly increasing values",
                "Sort the checkpoints and remove repeated ones.",
            )


def _read(columns: Mapping[str, zarr.Array], absent: Absent) -> dict[str, np.ndarray | ChunkError]:
    def values(array: zarr.Array) -> np.ndarray | ChunkError:
        try:
            return read_rows(array, 0, array.shape[0], absent=absent)
        except ChunkError as error:
            return error

    if not columns:
        return {}
    store = next(iter(columns.values())).store
    return dict(zip(columns, at_once(Location(store, "", ""), values, columns.values()), strict=True))
