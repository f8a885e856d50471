"""Losses as training runs write them: one array a checkpoint, in a Zarr group or as NumPy files."""

import dataclasses
import itertools
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from .encodings import encoding_of
from .errors import StoreError
from .limits import check_sizes
from .location import StoreLike, arrays_of, locate
from .reading import Absent, read_rows
from .schema import LOSS_DTYPES, MissingChunks


@dataclasses.dataclass(frozen=True)
class CheckpointArrays:
    """Arrays of one shape, one a checkpoint, that read like one array (token, checkpoint).

    Attributes:
        name: of the place.
        arrays: one a checkpoint, in order of steps: (tokens,), or (sequences, positions), whose tokens are counted
            sequence by sequence.
        labels: what each array is called.
        checkpoint_coordinates: `step`, (checkpoints,).
        token_coordinates: (tokens,) by name.
        attributes: what the group says.
        dtype: of the losses.
        missing_chunks: what chunks are that are not stored; see `open_losses`.
    """

    name: str
    arrays: tuple[Any, ...]
    labels: tuple[str, ...]
    checkpoint_coordinates: Mapping[str, np.ndarray]
    token_coordinates: Mapping[str, Any]
    attributes: Mapping[str, Any]
    dtype: np.dtype
    missing_chunks: MissingChunks = "refuse"

    path, basename = "", "losses"

    @property
    def shape(self) -> tuple[int, int]:
        """(tokens, checkpoints)."""
        return int(np.prod(self.arrays[0].shape)), len(self.arrays)

    @property
    def store_path(self) -> str:
        """What messages call the place."""
        return self.name

    def read(self, start: int, stop: int, checkpoints: slice, absent: Absent) -> np.ndarray:
        """Losses of consecutive tokens at some checkpoints.

        Raises:
            ChunkError: a chunk of a Zarr array cannot be read, or is absent where that is refused.
        """
        return np.stack([_flat(array, slice(start, stop), absent) for array in self.arrays[checkpoints]], axis=1)


def find_checkpoint_arrays(source: StoreLike, missing_chunks: MissingChunks = "refuse") -> CheckpointArrays | None:
    """Losses in one array a checkpoint, if that is what is there.

    The last number in an array's name is its step: ``step_1000``, ``losses-001000.npy``. An array of integers of the
    same size, named without a number (``token_id``, ``domain``), is a token coordinate; of arrays
    (sequences, positions) `sequence` and `position` are counted.

    Args:
        source: a Zarr group that is no loss store, or a directory with ``.npy`` files.
        missing_chunks: what chunks of a Zarr group are that are not stored; see `open_losses`.

    Returns:
        None for anything else.

    Raises:
        StoreError: the arrays differ in shape, are no losses, or two have the same step.
    """
    named, attributes, name = _numpy_files(source) or _zarr_arrays(source) or ({}, {}, "")
    steps = {key: int(found[-1]) for key in named if (found := re.findall(r"\d+", key))}
    if not steps:
        return None
    order = sorted(steps, key=lambda key: steps[key])
    twice = [f"{a} and {b}" for a, b in itertools.pairwise(order) if steps[a] == steps[b]]
    if twice:
        raise StoreError(f"{name}: {twice[0]} have the same step, the last number in their names; rename one of them")
    first = named[order[0]]
    for key in order:
        if named[key].shape != first.shape or str(named[key].dtype) not in LOSS_DTYPES or named[key].ndim not in (1, 2):
            raise StoreError(
                f"{name}: {key} has shape {named[key].shape} of {named[key].dtype}, expected {first.shape} as "
                f"{order[0]} has, (tokens,) or (sequences, positions), of {' or '.join(LOSS_DTYPES)}; "
                "write all of them alike"
            )
    others = {key: array for key, array in named.items() if key not in steps and array.dtype.kind in "iub"}
    whole: Absent = "fill" if missing_chunks == "as-fill" else "refuse"
    same = {key: _FlatArray(array, whole) for key, array in others.items() if array.shape == first.shape}
    return CheckpointArrays(
        name=name,
        arrays=tuple(named[key] for key in order),
        labels=tuple(order),
        checkpoint_coordinates={"step": np.array([steps[key] for key in order])},
        token_coordinates=_counted(first.shape) | same,
        attributes=attributes,
        dtype=np.result_type(*(named[key].dtype for key in order)),
        missing_chunks=missing_chunks,
    )


class _FlatArray:
    """An array read as (tokens,)."""

    def __init__(self, array: Any, absent: Absent) -> None:
        self._array, self.dtype = array, array.dtype
        self._absent: Absent = absent

    def __getitem__(self, tokens: slice) -> np.ndarray:
        return _flat(self._array, tokens, self._absent)


def _counted(shape: tuple[int, ...]) -> dict[str, Any]:
    """`sequence` and `position` of arrays (sequences, positions)."""
    if len(shape) == 1:
        return {}
    number = np.arange(shape[0] * shape[1])
    return {"sequence": (number // shape[1]).astype(np.int32), "position": (number % shape[1]).astype(np.int32)}


def _flat(array: Any, tokens: slice, absent: Absent) -> np.ndarray:
    """Consecutive tokens of an array (tokens,) or (sequences, positions)."""
    if array.ndim == 1:
        return _rows(array, tokens.start, tokens.stop, absent)
    width = array.shape[1]
    first = tokens.start // width
    rows = _rows(array, first, -(-tokens.stop // width), absent)
    return rows.reshape(-1)[tokens.start - first * width : tokens.stop - first * width]


def _rows(array: Any, start: int, stop: int, absent: Absent) -> np.ndarray:
    if isinstance(array, zarr.Array):
        return encoding_of(array).decode(read_rows(array, start, stop, absent=absent))
    return np.asarray(array[start:stop])


def _numpy_files(source: StoreLike) -> tuple[dict[str, Any], dict[str, Any], str] | None:
    """Arrays of a directory with ``.npy`` files by name, mapped and not read."""
    if not isinstance(source, str | os.PathLike) or "://" in os.fspath(source):
        return None
    folder = Path(source).expanduser()
    files = sorted(folder.glob("*.npy")) if folder.is_dir() and not (folder / "zarr.json").exists() else []
    if not files:
        return None
    named = {}
    for path in files:
        try:
            named[path.stem] = np.load(path, mmap_mode="r")
        except (ValueError, OSError) as error:
            raise StoreError(f"{path}: no array of numbers ({error}); write it with numpy.save") from error
    return named, {}, str(folder)


def _zarr_arrays(source: StoreLike) -> tuple[dict[str, Any], dict[str, Any], str] | None:
    """Arrays of a Zarr group that is neither a loss store nor another of this package's."""
    location = locate(source)
    try:
        group = location.open_group()
    except StoreError:
        return None  # opening it as a loss store says what is wrong
    arrays: dict[str, zarr.Array] = arrays_of(group)
    if "tsl_kind" in group.attrs or "losses" in arrays:
        return None
    for violation in check_sizes(arrays):
        raise StoreError(f"{location.name}: {violation}")
    return dict(arrays), group.attrs.asdict(), location.name
