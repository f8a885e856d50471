"""Batches of a whole validation set, each sequence with its number, dealt out to ranks."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ..store import StoreError
from .host_arrays import to_numpy


def numbered(batches: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Batches in NumPy, with `sequence`, counted from 0 where it is not given.

    Raises:
        StoreError: there is none, or one has no ``token_id`` of two dimensions.
    """
    found: list[dict[str, Any]] = []
    count = 0
    for index, batch in enumerate(batches):
        arrays = {name: to_numpy(values) for name, values in batch.items()}
        shape = arrays["token_id"].shape if "token_id" in arrays else ()
        if len(shape) != 2:
            raise StoreError(
                f"batches[{index}]: got {'token_id of shape ' + str(shape) if shape else ', '.join(arrays)}, expected "
                "token_id, the tokens whose losses are measured, (sequences, positions)"
            )
        arrays.setdefault("sequence", count + np.arange(shape[0]))
        count += shape[0]
        found.append(arrays)
    if not found:
        raise StoreError("batches: got none, expected at least one")
    return found


def dealt(batches: Sequence[Any], rank: int, ranks: int) -> Iterator[Any]:
    """The batches of a rank; as many for each, so that all call the model equally often: the last may be repeated.

    Example:
        >>> [list(dealt("abc", rank, 2)) for rank in range(2)]
        [['a', 'c'], ['b', 'c']]
    """
    for start in range(0, len(batches), ranks):
        yield batches[min(start + rank, len(batches) - 1)]
