"""What loss and fit stores share: axes, slices of tokens, coordinates."""

from collections.abc import Mapping

import numpy as np
import zarr

from .errors import StoreError
from .reading import read_rows
from .schema import increases


def axis_values(store_name: str, columns: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    """A checkpoint coordinate as float64, if curves can be fitted over it."""
    known = ", ".join(repr(key) for key, values in columns.items() if increases(values))
    if name not in columns:
        raise StoreError(f"axis: got {name!r}, expected one of {known} ({store_name})")
    if not increases(columns[name]):
        raise StoreError(f"axis: {name!r} does not increase strictly; expected one of {known} ({store_name})")
    return columns[name].astype(np.float64)


def token_range(tokens: slice, num_tokens: int) -> tuple[int, int]:
    """``(start, stop)`` of a slice of consecutive tokens."""
    start, stop, step = tokens.indices(num_tokens)
    if step != 1:
        raise StoreError(f"tokens: got {tokens}, expected a slice with step 1")
    return start, max(start, stop)


def read_coordinate(
    store_name: str, arrays: Mapping[str, zarr.Array], name: str, tokens: slice, num_tokens: int
) -> np.ndarray:
    """Consecutive values of a token coordinate."""
    if name not in arrays:
        raise StoreError(f"coordinate: got {name!r}, expected one of {', '.join(arrays) or 'none'} ({store_name})")
    return read_rows(arrays[name], *token_range(tokens, num_tokens))
