"""Whether the arrays of a store agree on how many tokens and checkpoints there are."""

from collections.abc import Iterator, Mapping

import zarr

from .errors import Violation
from .schema import CHECKPOINT, KNOWN_AXES, TOKEN, dimensions


def check_lengths(
    arrays: Mapping[str, zarr.Array], sizes: Mapping[str, int], main: str = "losses"
) -> Iterator[Violation]:
    """Arrays that have no named dimensions, another length than those of the store, or no numbers."""
    for name, array in sorted(arrays.items()):
        names = dimensions(array)
        if not names and array.ndim:
            yield Violation(
                name,
                "no dimension_names",
                "names of its dimensions",
                "Write the array with dimension_names.",
                "error" if name in KNOWN_AXES else "note",
            )
        for dimension, length in zip(names, array.shape, strict=False):
            if dimension is not None and length != sizes.get(dimension, length):
                yield Violation(
                    name,
                    f"{length} values over {dimension!r}",
                    f"{sizes[dimension]}, as {main} has",
                    "Write one value a " + str(dimension) + ".",
                )
        if names in ((TOKEN,), (CHECKPOINT,)) and array.dtype.kind not in "iufb":
            yield Violation(
                name,
                f"dtype {array.dtype}",
                "numbers",
                "It is not copied to fit stores; store integer codes, and the names as a group attribute.",
                "note",
            )
