"""The mean loss of buckets of sequences over training, and how far each falls within a window, with errors."""

import dataclasses

import numpy as np

from ...store import LossStore, StoreError, StoreLike, open_losses
from ...stream.parts import Part, sequence_numbers, sequence_parts, sequence_source
from ...stream.passes import run_pass
from ..group_sums import GroupSums, TwoSums
from .runs import NO_SEQUENCES
from .weights import SampleWeights

_LOSS_BYTES = 2**26


@dataclasses.dataclass(frozen=True)
class BucketCurves:
    """Losses of buckets.

    Attributes:
        axis: (checkpoints,) values of the axis.
        loss: (buckets, checkpoints) mean losses, nat, NaN where there are none.
        fall: (buckets,) mean loss of a token at the window's start less that at its end, nat, over the tokens that
            were measured at both; NaN without a window.
        fall_stderr: (buckets,) its standard error, sequences being independent; NaN for fewer than 2 sequences.
    """

    axis: np.ndarray
    loss: np.ndarray
    fall: np.ndarray
    fall_stderr: np.ndarray


def bucket_losses(
    losses: StoreLike | LossStore,
    weights: SampleWeights,
    *,
    axis: str = "step",
    window: tuple[float, float] | None = None,
    scale: str = "log",
) -> BucketCurves:
    """Mean loss of every bucket over training, and its fall within a window, streamed.

    Args:
        losses: the losses that were fitted.
        weights: of `score_store`.
        axis: which checkpoint coordinate to hand on.
        window: its start and end in units of the axis, cut to what was measured; between checkpoints losses are taken
            to be straight in the fitted coordinate.
        scale: of the fits, ``"log"`` or ``"linear"``.

    Returns:
        `BucketCurves`.

    Raises:
        StoreError: no loss store, or none that knows its sequences.
    """
    losses = losses if isinstance(losses, LossStore) else open_losses(losses)
    if sequence_source(losses) == "token":
        raise StoreError(f"{losses.name}: {NO_SEQUENCES}")
    rows = max(1, _LOSS_BYTES // (8 * losses.num_checkpoints))
    values = losses.axis(axis)
    fall = None if window is None else fall_of(values, window, scale)
    return run_pass(BucketLosses(losses, weights.sequence, weights.bucket, values, fall), sequence_parts(losses, rows))


def fall_of(axis: np.ndarray, window: tuple[float, float], scale: str) -> np.ndarray:
    """(checkpoints,) factors whose product with losses is their fall within a window; 0 for a checkpoint at 0."""
    used = np.flatnonzero(axis > 0) if scale == "log" else np.arange(len(axis))
    u = np.log if scale == "log" else np.asarray
    ends = u(np.clip(window, axis[used[0]], axis[used[-1]]))
    of_checkpoint = np.array([np.interp(ends, u(axis[used]), row) for row in np.eye(len(used))])
    factors = np.zeros(len(axis))
    factors[used] = of_checkpoint[:, 0] - of_checkpoint[:, 1]
    return factors


@dataclasses.dataclass(frozen=True)
class BucketLosses:
    """The pass over a loss store that finds the mean loss of every bucket, and the fall of every sequence.

    Attributes:
        losses: an open loss store.
        sequence: (sequences,) numbers, increasing.
        bucket: (sequences,) theirs.
        axis: (checkpoints,) axis values.
        fall: (checkpoints,) of `fall_of`; None: no falls.
    """

    losses: LossStore
    sequence: np.ndarray
    bucket: np.ndarray
    axis: np.ndarray
    fall: np.ndarray | None

    def read(self, part: Part) -> tuple[np.ndarray, np.ndarray]:
        """Losses and sequences of some tokens."""
        return self.losses.read(part.tokens), sequence_numbers(self.losses, part)

    def start(self) -> TwoSums:
        """Sums of no tokens: losses by bucket, falls by sequence."""
        buckets = GroupSums.zeros(int(self.bucket.max()) + 1, self.losses.num_checkpoints)
        return buckets, GroupSums.zeros(len(self.sequence), 1)

    def add(self, sums: TwoSums, block: tuple[np.ndarray, np.ndarray]) -> TwoSums:
        """Sums with more tokens; those of other sequences are left out."""
        values, sequence = block
        place = np.minimum(np.searchsorted(self.sequence, sequence), len(self.sequence) - 1)
        known = self.sequence[place] == sequence
        values, place = values[known], place[known]
        sums[0].add(values, self.bucket[place])
        if self.fall is not None:
            at = np.flatnonzero(self.fall)
            sums[1].add(values[:, at].astype(np.float64) @ self.fall[at, None], place)
        return sums

    def merge(self, one: TwoSums, other: TwoSums) -> TwoSums:
        """Sums of both."""
        return one[0].merge(other[0]), one[1].merge(other[1])

    def finish(self, sums: TwoSums) -> BucketCurves:
        """Means, and errors of falls: those of a ratio of sums over sequences."""
        total, count = sums[1].total[:, 0], sums[1].count[:, 0].astype(np.float64)
        buckets = len(sums[0].total)

        def over(values: np.ndarray) -> np.ndarray:
            return np.bincount(self.bucket, values, buckets)

        with np.errstate(divide="ignore", invalid="ignore"):
            fall = over(total) / over(count)
            rest, sequences = total - fall[self.bucket] * count, over(count > 0)
            stderr = np.sqrt(over(rest**2) * sequences / (sequences - 1)) / over(count)
        stderr[sequences < 2] = np.nan
        return BucketCurves(self.axis, sums[0].mean(), fall, stderr)
