"""Losses of any source, as they are copied into a loss store."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import zarr

from ..errors import StoreError
from ..schema import MissingChunks
from .source_array import SourceArray, check_losses


class CheckpointColumns:
    """Arrays of one shape, one a checkpoint, that read like one array (token, checkpoint).

    Args:
        name: of the place.
        arrays: one a checkpoint, in order: (tokens,), or (sequences, positions), whose tokens are counted sequence by
            sequence.

    Raises:
        StoreError: the arrays differ in shape, or hold no losses.
    """

    columns_at_a_time, basename = 1, "losses"

    def __init__(self, name: str, arrays: Sequence[SourceArray]) -> None:
        first = arrays[0]
        for array in arrays:
            check_losses(array)
            if array.shape != first.shape or array.ndim not in (1, 2):
                raise StoreError(
                    f"{array.name}: got shape {array.shape}, expected {first.shape} as {first.name} has: one array of "
                    "(tokens,) or (sequences, positions) a checkpoint, of the same tokens in the same order"
                )
        self.store_path, self.arrays = name, tuple(arrays)
        self.shape = (first.size, len(self.arrays))
        self.dtype = np.result_type(*(array.dtype for array in arrays))

    def read(self, start: int, stop: int, checkpoints: slice) -> np.ndarray:
        """Losses of consecutive tokens at some checkpoints."""
        return np.stack([flat(array, start, stop) for array in self.arrays[checkpoints]], axis=1)


class LossMatrix:
    """One array (tokens, checkpoints), or (sequences, positions, checkpoints).

    Raises:
        StoreError: it holds no losses, or has other dimensions.
    """

    basename = "losses"

    def __init__(self, array: SourceArray) -> None:
        check_losses(array)
        if array.ndim not in (2, 3):
            raise StoreError(
                f"{array.name}: got shape {array.shape}, expected (tokens, checkpoints) or "
                "(sequences, positions, checkpoints)"
            )
        self.store_path, self.array = array.name, array
        self.shape = (array.size // max(1, array.shape[-1]), array.shape[-1])
        self.dtype = array.dtype
        self.columns_at_a_time = array.columns or max(1, array.shape[-1])

    def read(self, start: int, stop: int, checkpoints: slice) -> np.ndarray:
        """Losses of consecutive tokens at some checkpoints."""
        if self.array.ndim == 2:
            return self.array[start:stop, checkpoints]
        width = self.array.shape[1]
        rows = self.array[start // width : -(-stop // width), :, checkpoints]
        first = start // width * width
        return rows.reshape(-1, rows.shape[-1])[start - first : stop - first]


@dataclasses.dataclass(frozen=True)
class IncomingLosses:
    """What is copied into a loss store.

    Attributes:
        name: of the source.
        losses: (tokens, checkpoints), read a part at a time.
        checkpoint_coordinates: (checkpoints,) by name.
        token_coordinates: (tokens,) by name, sliced.
        attributes: of the group.
        missing_chunks: what chunks are that are not stored; see `open_losses`.
        notes: what was left out of the source or taken for something, sentences.
        held: whether this process alone has the losses, in a temporary file.
    """

    name: str
    losses: zarr.Array | CheckpointColumns | LossMatrix
    checkpoint_coordinates: Mapping[str, np.ndarray]
    token_coordinates: Mapping[str, Any]
    attributes: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    missing_chunks: MissingChunks = "refuse"
    notes: tuple[str, ...] = ()
    held: bool = False


def flat(array: SourceArray, start: int, stop: int) -> np.ndarray:
    """Consecutive tokens of an array (tokens,) or (sequences, positions)."""
    if array.ndim == 1:
        return array[start:stop]
    width = array.shape[1]
    first = start // width
    rows = array[first : -(-stop // width)]
    return rows.reshape(-1)[start - first * width : stop - first * width]


class FlatColumn:
    """A coordinate (tokens,) or (sequences, positions) that is read as (tokens,).

    Args:
        arrays: of each checkpoint that has it: all hold the same.
    """

    def __init__(self, name: str, arrays: Sequence[SourceArray]) -> None:
        self.name, self._arrays = name, tuple(arrays)
        self.dtype, self.shape = arrays[0].dtype, (arrays[0].size,)

    def __getitem__(self, tokens: slice) -> np.ndarray:
        first, *others = self._arrays
        values = flat(first, tokens.start, tokens.stop)
        for other in others:
            differs = np.flatnonzero(flat(other, tokens.start, tokens.stop) != values)
            if differs.size:
                raise StoreError(
                    f"{other.name}: {self.name} of token {tokens.start + differs[0]} is another than in {first.name}; "
                    "expected the same tokens in the same order at every checkpoint. Sort the rows of each alike"
                )
        return values


def counted(shape: tuple[int, ...]) -> dict[str, Any]:
    """`sequence` and `position` of arrays (sequences, positions)."""
    if len(shape) == 1:
        return {}
    return {"sequence": _Counted(shape, True), "position": _Counted(shape, False)}


class _Counted:
    """The sequence of each token, or its position, where all sequences have one length."""

    dtype = np.dtype(np.int32)

    def __init__(self, shape: tuple[int, ...], sequences: bool) -> None:
        self.shape, self._width, self._sequences = (shape[0] * shape[1],), shape[1], sequences

    def __getitem__(self, tokens: slice) -> np.ndarray:
        number = np.arange(tokens.start, tokens.stop)
        return (number // self._width if self._sequences else number % self._width).astype(self.dtype)
