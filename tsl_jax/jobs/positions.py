"""Mean loss per position in the context and checkpoint, streamed from a loss store."""

import dataclasses
from collections.abc import Iterator

import numpy as np

from ..store import LossStore, StoreError, StoreLike, open_losses
from ..stream.plan import DEFAULT_MEMORY
from ..stream.sequences import sequence_blocks

_BLOCK_BYTES = 2**25
_COORDINATE_ROWS = 2**22
#: Bytes of one (group, position, checkpoint): its sum and its count, and both again as they are handed over.
_CELL_BYTES = 8 + 4 + 8


@dataclasses.dataclass(frozen=True)
class PositionLosses:
    """What the laws over positions are fitted to; NumPy arrays, a row of `mean` is one curve over positions.

    The groups hold whole sequences, the same at every checkpoint. The scatter between groups therefore shows every
    correlation of the means: between positions of one sequence, and between checkpoints, which share their tokens.

    Attributes:
        position: (positions,) places in the context that occur, counted from 1, increasing.
        axis: (checkpoints,) values of the axis.
        axis_name: its name, such as ``"step"``.
        mean: (checkpoints, positions) mean of the measured losses, nat; NaN where there is none.
        stderr: (checkpoints, positions) its standard error, tokens at one position being of different sequences and
            so independent; NaN below two losses.
        count: (checkpoints, positions) losses measured.
        group_mean: (groups, checkpoints, positions) the same mean within each group, float32.
        group_count: (groups, checkpoints, positions) losses measured within each group.
    """

    position: np.ndarray
    axis: np.ndarray
    axis_name: str
    mean: np.ndarray
    stderr: np.ndarray
    count: np.ndarray
    group_mean: np.ndarray
    group_count: np.ndarray


def position_losses(
    losses: StoreLike | LossStore, *, axis: str = "step", groups: int = 64, memory: int = DEFAULT_MEMORY
) -> PositionLosses:
    """Mean loss per position and checkpoint, with standard errors, of a loss store of any size.

    Missing losses are left out. Sums are float64. Which tokens form a sequence is read from the coordinate
    `sequence`; without it, a new sequence begins wherever `position` does not increase.

    Args:
        losses: an open loss store, or whatever opens as one; its token coordinate `position` counts from 0.
        axis: which checkpoint coordinate is handed on.
        groups: into how many groups the sequences are dealt, evenly; more of them tell standard errors more
            exactly, fewer save memory. Groups that stay empty are dropped.
        memory: most bytes for the sums, which take 20 a group, position and checkpoint.

    Returns:
        `PositionLosses`.

    Raises:
        StoreError: the store has no `position`, or one that is negative or no whole number; or the axis is unknown.
        ChunkError: a chunk is corrupted or absent.
        ValueError: ``groups`` below 2, or more than ``memory`` allows.

    Example:
        >>> import numpy as np, zarr
        >>> from tsl_jax.store import create_losses
        >>> tokens = {"position": [0, 1, 0, 1], "sequence": [0, 0, 1, 1]}
        >>> losses = np.array([[9.0, 5.0], [8.0, 4.0], [9.0, 6.0], [8.0, np.nan]])
        >>> store = create_losses(zarr.storage.MemoryStore(), losses, checkpoints={"step": [1, 10]}, tokens=tokens)
        >>> means = position_losses(store)
        >>> means.position.tolist(), means.mean.tolist()
        ([1.0, 2.0], [[9.0, 8.0], [5.5, 4.0]])

    Source: the table that arXiv 2404.17785 fits its hyperbolas to.
    """
    losses = losses if isinstance(losses, LossStore) else open_losses(losses)
    axis_values = losses.axis(axis)
    if groups < 2:
        raise ValueError(f"groups: got {groups}, expected at least 2; standard errors come from their scatter")
    length = _context_length(losses)
    cells = length * losses.num_checkpoints
    if groups * cells * _CELL_BYTES > memory:
        fitting = memory // (cells * _CELL_BYTES)
        raise ValueError(
            f"groups: {groups} of {length} positions at {losses.num_checkpoints} checkpoints take "
            f"{groups * cells * _CELL_BYTES:,} bytes, more than memory={memory:,}; "
            + (f"pass groups={fitting} or more memory" if fitting >= 2 else "pass more memory")
        )
    sums = np.zeros((groups * length, losses.num_checkpoints))
    counts = np.zeros(sums.shape, np.int32)
    squares = np.zeros((length, losses.num_checkpoints))
    for values, position, sequence in _blocks(losses):
        _add(values, _group_of(sequence, groups) * length + position, sums, counts)
        _add(np.square(values, dtype=np.float64), position, squares)
    shape = (groups, length, losses.num_checkpoints)
    return _described(axis_values, axis, sums.reshape(shape), counts.reshape(shape), squares)


def _described(axis_values, axis_name, sums, counts, squares) -> PositionLosses:
    """Means and errors from sums over (groups, positions, checkpoints), without what is empty."""
    count = counts.sum(axis=0, dtype=np.int64)
    seen = np.flatnonzero(count.any(axis=1))
    filled = np.flatnonzero(counts.any(axis=(1, 2)))
    sums, counts = sums[filled][:, seen], counts[filled][:, seen]
    count, squares = count[seen], squares[seen]
    mean = _ratio(sums.sum(axis=0), count)
    spread = np.maximum(squares - count * np.square(np.where(count > 0, mean, 0)), 0)
    variance = _ratio(spread, np.where(count > 1, count - 1, 0))
    return PositionLosses(
        position=seen + 1.0,
        axis=axis_values,
        axis_name=axis_name,
        mean=np.ascontiguousarray(mean.T),
        stderr=np.ascontiguousarray(np.sqrt(_ratio(variance, count)).T),
        count=np.ascontiguousarray(count.T),
        group_mean=np.ascontiguousarray(_ratio(sums, counts).astype(np.float32).swapaxes(1, 2)),
        group_count=np.ascontiguousarray(counts.swapaxes(1, 2)),
    )


def _ratio(total, count):
    return np.divide(total, count, out=np.full(np.shape(total), np.nan), where=count > 0)


def _context_length(losses: LossStore) -> int:
    """One more than the largest position, after checking all of them."""
    if "position" not in losses.token_coordinates:
        raise StoreError(
            f"position: {losses.name} has no such token coordinate, which says where in its context a token is; write "
            "it with create_losses(..., tokens={'position': ...}), counting from 0"
        )
    largest = -1
    for start in range(0, losses.num_tokens, _COORDINATE_ROWS):
        position = losses.read_coordinate("position", slice(start, start + _COORDINATE_ROWS))
        wrong = ~(position >= 0) | (position % 1 != 0)
        if wrong.any():
            at = int(np.argmax(wrong))
            raise StoreError(
                f"position: token {start + at} of {losses.name} has {position[at]}, expected whole numbers from 0"
            )
        largest = max(largest, int(position.max()))
    return largest + 1


def _blocks(losses: LossStore) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Losses, positions and sequences of consecutive tokens."""
    for part, sequence in sequence_blocks(losses, max(1, _BLOCK_BYTES // (8 * losses.num_checkpoints))):
        yield losses.read(part), losses.read_coordinate("position", part).astype(np.int64), sequence


def _group_of(sequence: np.ndarray, groups: int) -> np.ndarray:
    """Which group a sequence belongs to, from its number alone.

    Sequences are dealt round, but each round begins elsewhere: a store whose domains take turns would otherwise put
    one domain into each group.
    """
    deal, place = np.divmod(sequence, groups)
    mixed = (deal.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)  # Fibonacci hashing
    return (place + (mixed >> np.uint64(40)).astype(np.int64)) % groups


def _add(values: np.ndarray, row: np.ndarray, sums: np.ndarray, counts: np.ndarray | None = None) -> None:
    """Add the finite values of every token to the row of ``sums`` that is its own, and count them."""
    from scipy.sparse import csr_array

    rows, place = np.unique(row, return_inverse=True)
    tokens = np.arange(len(row))
    gather = csr_array((np.ones(len(row)), (place, tokens)), shape=(len(rows), len(row)))
    finite = np.isfinite(values)
    sums[rows] += gather @ np.where(finite, values, 0).astype(np.float64)
    if counts is not None:
        counts[rows] += (gather @ finite.astype(np.float64)).astype(np.int32)
