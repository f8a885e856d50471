"""Sums of losses by group of tokens and checkpoint: what every mean loss comes from."""

import dataclasses
from collections.abc import Iterator

import numpy as np

from ..store import LossStore
from ..stream.parts import Part, parts_of
from ..stream.passes import run_pass
from .in_memory import MemoryLosses

#: Bytes of losses that a part of a store takes in float64, and of those that are added at once: caches hold them, and
#: the allocator keeps their place, which makes sums several times as fast as from fresh memory.
BLOCK_BYTES, _CACHED_BYTES = 2**25, 2**22


@dataclasses.dataclass(frozen=True)
class GroupSums:
    """Sums of finite values over the tokens of each group, float64, which adding changes.

    Attributes:
        total: (groups, checkpoints) sums.
        count: (groups, checkpoints) how many values.
    """

    total: np.ndarray
    count: np.ndarray

    @classmethod
    def zeros(cls, groups: int, checkpoints: int, counts: type[np.integer] = np.int64) -> "GroupSums":
        """Of no tokens."""
        return cls(np.zeros((groups, checkpoints)), np.zeros((groups, checkpoints), counts))

    def add(self, values: np.ndarray, group: np.ndarray) -> None:
        """Add the finite values (tokens, checkpoints) of each token to the row of its group (tokens,)."""
        for some in pieces(values):
            self._add(values[some].astype(np.float64, copy=False), group[some])

    def _add(self, values: np.ndarray, group: np.ndarray) -> None:
        from scipy.sparse import csr_array

        counts = np.bincount(group)
        rows = np.flatnonzero(counts)
        bounds = np.concatenate([[0], np.cumsum(counts[rows])])
        members = np.argsort(group, kind="stable")
        gather = csr_array((np.ones(len(group)), members, bounds), shape=(len(rows), len(group)))
        finite = np.isfinite(values)
        if finite.all():  # nothing to leave out, nothing to count checkpoint by checkpoint
            self.total[rows] += gather @ values
            self.count[rows] += counts[rows][:, None].astype(self.count.dtype)
            return
        self.total[rows] += gather @ np.where(finite, values, 0)
        self.count[rows] += (gather @ finite.astype(np.float64)).astype(self.count.dtype)

    def merge(self, other: "GroupSums") -> "GroupSums":
        """With the tokens of both."""
        np.add(self.total, other.total, out=self.total)
        np.add(self.count, other.count, out=self.count)
        return self

    def mean(self) -> np.ndarray:
        """(groups, checkpoints) means; NaN where there are no values."""
        return np.divide(self.total, self.count, out=np.full(self.total.shape, np.nan), where=self.count > 0)


def pieces(values: np.ndarray) -> Iterator[slice]:
    """Consecutive rows of values (tokens, checkpoints) that a CPU adds at once."""
    rows = max(1, _CACHED_BYTES // (8 * max(1, values.shape[1])))
    return (slice(first, first + rows) for first in range(0, len(values), rows))


#: Two sums that one pass makes side by side.
TwoSums = tuple[GroupSums, GroupSums]


@dataclasses.dataclass(frozen=True)
class MeanLosses:
    """The pass that finds the mean loss at every checkpoint, (checkpoints,), nat.

    Attributes:
        losses: an open loss store.
    """

    losses: LossStore

    def read(self, part: Part) -> np.ndarray:
        """The losses of some tokens."""
        return self.losses.read(part.tokens)

    def start(self) -> GroupSums:
        """Sums of no tokens."""
        return GroupSums.zeros(1, self.losses.num_checkpoints)

    def add(self, sums: GroupSums, losses: np.ndarray) -> GroupSums:
        """Sums with more tokens."""
        sums.add(losses, np.zeros(len(losses), np.int64))
        return sums

    def merge(self, one: GroupSums, other: GroupSums) -> GroupSums:
        """Sums of both."""
        return one.merge(other)

    def finish(self, sums: GroupSums) -> np.ndarray:
        """The means."""
        return sums.mean()[0]


def mean_losses(losses: LossStore) -> np.ndarray:
    """(checkpoints,) mean of the measured losses of a store, nat; NaN where there are none."""
    return run_pass(MeanLosses(losses), loss_parts(losses))


def loss_parts(losses: LossStore | MemoryLosses) -> list[Part]:
    """Parts of a loss store that take `BLOCK_BYTES`."""
    return parts_of(losses, loss_rows(losses))


def loss_rows(losses: LossStore | MemoryLosses) -> int:
    """Tokens whose losses take `BLOCK_BYTES`."""
    return max(1, BLOCK_BYTES // (8 * losses.num_checkpoints))
