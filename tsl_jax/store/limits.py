"""How large a store may say it is: beyond these sizes it is taken for damaged or hostile before memory is asked for.

A store of a few hundred bytes can claim any size. Each limit is far beyond what training runs write, and is raised by
an environment variable, for the command and for Python.
"""

import os
from collections.abc import Iterator, Mapping

import numpy as np
import zarr

from .errors import StoreError, Violation
from .schema import CHECKPOINT, TOKEN, dimensions

#: Environment variables and the limits that hold without them.
LIMITS = {"TSL_MAX_TOKENS": 10**12, "TSL_MAX_CHECKPOINTS": 10**6, "TSL_MAX_CHUNK_BYTES": 2**32}


def limit_of(name: str) -> int:
    """A limit, as the environment says or by default.

    Raises:
        StoreError: the environment says no whole number.
    """
    said = os.environ.get(name, "")
    if not said:
        return LIMITS[name]
    try:
        return int(said)
    except ValueError as error:
        raise StoreError(f"environment variable {name}: got {said!r}, expected a whole number") from error


def check_sizes(arrays: Mapping[str, zarr.Array]) -> Iterator[Violation]:
    """Arrays that claim more tokens, checkpoints or bytes a chunk than the limits."""
    for name, array in sorted(arrays.items()):
        if any(size < 1 for size in (*array.chunks, *(array.shards or ()))):
            found = f"chunks {array.chunks}" + (f" in shards {array.shards}" if array.shards else "")
            yield Violation(name, found, "at least one value in each", "It is damaged: restore its zarr.json.")
            continue
        for dimension, length in zip(dimensions(array), array.shape, strict=False):
            variable = {TOKEN: "TSL_MAX_TOKENS", CHECKPOINT: "TSL_MAX_CHECKPOINTS"}.get(str(dimension))
            if variable is not None:
                yield from _above(name, length, f"values over {dimension!r}", variable)
        decoded = int(np.prod([min(pair) for pair in zip(array.chunks, array.shape, strict=True)], dtype=object))
        yield from _above(name, decoded * array.dtype.itemsize, "bytes in a chunk", "TSL_MAX_CHUNK_BYTES")


def refuse_large(name: str, array: zarr.Array) -> None:
    """Raise if an array that is read whole takes more than a chunk may.

    Raises:
        StoreError: its size, and how to raise the limit.
    """
    for violation in _above(array.basename, array.nbytes, "bytes", "TSL_MAX_CHUNK_BYTES"):
        raise StoreError(f"{name}: {violation}")


def _above(name: str, found: int, what: str, variable: str) -> Iterator[Violation]:
    limit = limit_of(variable)
    if found > limit:
        cure = f"If that is meant, set the environment variable {variable} to {found} or more; else it is damaged."
        yield Violation(name, f"{found} {what}", f"at most {limit}", cure)
