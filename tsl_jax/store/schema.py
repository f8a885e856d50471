"""The words of the two schemas on disk, and small questions about arrays."""

from collections.abc import Mapping

import numpy as np
import zarr

#: Version of the file formats; a change that old readers cannot read raises it.
FORMAT_VERSION = 1
TOKEN, CHECKPOINT = "token", "checkpoint"
#: Checkpoint coordinates that must increase wherever they are present; other increasing ones are axes too.
KNOWN_AXES = ("step", "tokens_seen", "lr_sum")
LOSS_DTYPES = ("float16", "float32", "float64")
#: Arrays of a fit store beside parameters and standard errors, with the kinds of number each may hold.
FIT_ARRAYS = {"rss": "f", "r2": "f", "constant": "f", "num_points": "iu", "status": "u", "category": "u"}
LEDGER = "ledger"


def dimensions(array: zarr.Array) -> tuple[str | None, ...]:
    """Names of an array's dimensions; empty where it has none."""
    return tuple(getattr(array.metadata, "dimension_names", None) or ())


def coordinates(arrays: Mapping[str, zarr.Array], dimension: str) -> dict[str, zarr.Array]:
    """The numeric arrays over one dimension alone, by name, in alphabetical order."""
    return {
        name: array
        for name, array in sorted(arrays.items())
        if dimensions(array) == (dimension,) and array.dtype.kind in "iufb"
    }


def increases(values: np.ndarray) -> bool:
    """Whether values are finite and each is above the one before."""
    return bool(np.all(np.isfinite(values)) and np.all(values[1:] > values[:-1]))


def first_fall(values: np.ndarray) -> str:
    """Where values that should increase do not, in words."""
    rises = np.isfinite(values[1:]) & (values[1:] > values[:-1])
    at = 1 + int(np.argmin(rises)) if len(rises) and not np.all(rises) else 0
    return f"value {at} is {values[at]}" + (f" after {values[at - 1]}" if at else "")
