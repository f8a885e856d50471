"""Mean loss per position in the context and checkpoint, streamed from a loss store."""

import dataclasses
from typing import Any

import numpy as np

from ..store import LossStore, StoreError, StoreLike, open_losses
from ..stream.parts import Part, parts_of, sequence_numbers, sequence_parts
from ..stream.passes import run_pass
from ..stream.plan import DEFAULT_MEMORY
from .group_sums import GroupSums, TwoSums, loss_rows, pieces

_COORDINATE_ROWS = 2**22
#: Bytes of one (group, position, checkpoint): its sum and its count, and both again as they are handed over.
_CELL_BYTES = 8 + 4 + 8


class PositionError(StoreError):
    """A loss store does not say at which position in its context each token is: what is wrong, the way out."""


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
    losses: StoreLike | LossStore,
    *,
    axis: str = "step",
    groups: int = 64,
    memory: int = DEFAULT_MEMORY,
    client: Any = None,
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
        client: adds up in the workers of a cluster; see `tsl_jax.fit_store`.

    Returns:
        `PositionLosses`.

    Raises:
        PositionError: the store has no `position`, or one that is negative or no whole number.
        StoreError: the axis is unknown.
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
    job = position_sums(losses, axis=axis, groups=groups, memory=memory, client=client)
    return run_pass(job, sequence_parts(losses, loss_rows(losses)), client=client)


def position_sums(
    losses: LossStore, *, axis: str = "step", groups: int = 64, memory: int = DEFAULT_MEMORY, client: Any = None
) -> "PositionSums":
    """The pass of `position_losses`, whose arguments and errors it has, after all positions were checked."""
    losses.axis(axis)
    if groups < 2:
        raise ValueError(f"groups: got {groups}, expected at least 2; standard errors come from their scatter")
    length = _context_length(losses, client)
    cells = length * losses.num_checkpoints
    if groups * cells * _CELL_BYTES > memory:
        fitting = memory // (cells * _CELL_BYTES)
        raise ValueError(
            f"groups: {groups} of {length} positions at {losses.num_checkpoints} checkpoints take "
            f"{groups * cells * _CELL_BYTES:,} bytes, more than memory={memory:,}; "
            + (f"pass groups={fitting} or more memory" if fitting >= 2 else "pass more memory")
        )
    return PositionSums(losses, axis, groups, length)


@dataclasses.dataclass(frozen=True)
class PositionSums:
    """The pass over a loss store: sums by group of sequences and position, and of squares by position.

    Attributes:
        losses: an open loss store.
        axis: which checkpoint coordinate is handed on.
        groups: into which the sequences are dealt.
        length: of the context.
    """

    losses: LossStore
    axis: str
    groups: int
    length: int

    def read(self, part: Part) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Losses, positions and sequences of some tokens."""
        return self.losses.read(part.tokens), self.positions(part), sequence_numbers(self.losses, part)

    def positions(self, part: Part) -> np.ndarray:
        """Those of some tokens."""
        return self.losses.read_coordinate("position", part.tokens).astype(np.int64)

    def start(self) -> TwoSums:
        """Sums of no tokens."""
        wide = self.losses.num_checkpoints
        return GroupSums.zeros(self.groups * self.length, wide, np.int32), GroupSums.zeros(self.length, wide)

    def add(self, sums: TwoSums, block: tuple[np.ndarray, ...]) -> TwoSums:
        """Sums with more tokens."""
        values, position, sequence = block
        group = _group_of(sequence, self.groups) * self.length + position
        for some in pieces(values):
            exact = values[some].astype(np.float64)
            sums[0].add(exact, group[some])
            sums[1].add(np.square(exact), position[some])
        return sums

    def merge(self, one: TwoSums, other: TwoSums) -> TwoSums:
        """Sums of both."""
        return one[0].merge(other[0]), one[1].merge(other[1])

    def finish(self, sums: TwoSums) -> PositionLosses:
        """Means and errors."""
        shape = (self.groups, self.length, self.losses.num_checkpoints)
        by_group, squares = sums
        total, count = by_group.total.reshape(shape), by_group.count.reshape(shape)
        return _described(self.losses.axis(self.axis), self.axis, total, count, squares.total)


def _described(axis_values, axis_name, sums, counts, squares) -> PositionLosses:
    """Means and errors from sums over (groups, positions, checkpoints), without what is empty."""
    count = counts.sum(axis=0, dtype=np.int64)
    seen = np.flatnonzero(count.any(axis=1))
    filled = np.flatnonzero(counts.any(axis=(1, 2)))
    sums, counts = sums[filled][:, seen], counts[filled][:, seen]
    count, squares = count[seen], squares[seen]
    mean = _ratio(sums.sum(axis=0), count)
    tss = np.maximum(squares - count * np.square(np.where(count > 0, mean, 0)), 0)
    variance = _ratio(tss, np.where(count > 1, count - 1, 0))
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


def _context_length(losses: LossStore, client: Any) -> int:
    """One more than the largest position, after checking all of them."""
    if "position" not in losses.token_coordinates:
        raise PositionError(
            f"position: {losses.name} has no such token coordinate, which says where in its context a token is; write "
            "it with create_losses(..., tokens={'position': ...}), counting from 0"
        )
    return run_pass(_Lengths(losses), parts_of(losses, _COORDINATE_ROWS), client=client)


@dataclasses.dataclass(frozen=True)
class _Lengths:
    """The pass that finds how long the context is, and checks all positions."""

    losses: LossStore

    def read(self, part: Part) -> tuple[Part, np.ndarray]:
        return part, self.losses.read_coordinate("position", part.tokens)

    def start(self) -> int:
        return 0

    def add(self, length: int, block: tuple[Part, np.ndarray]) -> int:
        part, position = block
        wrong = ~(position >= 0) | (position % 1 != 0)
        if wrong.any():
            at = int(np.argmax(wrong))
            raise PositionError(
                f"position: token {part.start + at} of {self.losses.name} has {position[at]}, expected whole numbers "
                "from 0 for every token; write the store without the tokens whose position is not known, or without "
                "positions"
            )
        return self.merge(length, int(position.max()) + 1)

    def merge(self, one: int, other: int) -> int:
        return max(one, other)

    def finish(self, length: int) -> int:
        return length


def _group_of(sequence: np.ndarray, groups: int) -> np.ndarray:
    """Which group a sequence belongs to, from its number alone.

    Sequences are dealt round, but each round begins elsewhere: a store whose domains take turns would otherwise put
    one domain into each group.
    """
    deal, place = np.divmod(sequence, groups)
    mixed = (deal.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)  # Fibonacci hashing
    return (place + (mixed >> np.uint64(40)).astype(np.int64)) % groups
