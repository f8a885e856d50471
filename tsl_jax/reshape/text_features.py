"""Cheap features of sequences of tokens: how frequent their tokens and pairs of tokens are, and how long they are."""

import dataclasses
from typing import Any

import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Float, Int

#: Names of the columns of `TextCounts.features`.
TEXT_FEATURES = (
    "mean_log_frequency",
    "low_log_frequency",
    "median_log_frequency",
    "high_log_frequency",
    "mean_log_pair_frequency",
    "new_pairs",
    "distinct_tokens",
    "log_length",
)
_QUANTILES = (0.1, 0.5, 0.9)


@dataclasses.dataclass(frozen=True)
class TextCounts:
    """How often tokens, and pairs of neighbouring tokens, occur in a text.

    Attributes:
        token: (tokens,) ids that occur, increasing.
        token_count: (tokens,) how often.
        pair: (pairs,) ``first·base + second`` of pairs that occur, increasing.
        pair_count: (pairs,) how often.
        base: one more than the largest id.
    """

    token: Int[np.ndarray, " tokens"]
    token_count: Int[np.ndarray, " tokens"]
    pair: Int[np.ndarray, " pairs"]
    pair_count: Int[np.ndarray, " pairs"]
    base: int

    @classmethod
    def of_text(cls, token_id: ArrayLike, sequence: ArrayLike) -> "TextCounts":
        """Count a text, such as a part of what a model trains on.

        Args:
            token_id: (tokens,) whole numbers, at least 0, in the order of the text.
            sequence: (tokens,) the sequence of each; a pair lies within one.

        Raises:
            ValueError: other shapes or kinds of numbers, or no token.
        """
        ids, sequence = _checked(token_id, sequence)
        base = int(ids.max()) + 1
        pairs = (ids[:-1] * base + ids[1:])[sequence[:-1] == sequence[1:]]
        return cls(*np.unique(ids, return_counts=True), *np.unique(pairs, return_counts=True), base)

    def features(self, token_id: ArrayLike, sequence: ArrayLike) -> Float[np.ndarray, "sequences features"]:
        """Features of sequences, one row each, by increasing number of the sequence; columns are `TEXT_FEATURES`.

        ``log_frequency`` of a token is ``ln((count + 1)/(all + kinds))``: its mean over the sequence, and its quantiles
        of 10, 50 and 90%. Of a pair ab it is ``ln((count of ab + 1)/(count of a + kinds))``; ``new_pairs`` is the
        fraction of pairs that the text does not have, ``distinct_tokens`` the number of kinds over the length.

        Args:
            token_id: (tokens,) whole numbers, at least 0, in the order of the text.
            sequence: (tokens,) the sequence of each.

        Returns:
            (sequences, features); a sequence of one token has no pair, and there 0 for their features.

        Raises:
            ValueError: other shapes or kinds of numbers, or no token.

        Example:
            >>> counts = TextCounts.of_text([1, 2, 1, 2, 3], [0, 0, 0, 0, 0])
            >>> dict(zip(TEXT_FEATURES, counts.features([1, 2, 1, 3], [5] * 4)[0].round(2).tolist()))["new_pairs"]
            0.33
        """
        ids, sequence = _checked(token_id, sequence)
        order = np.argsort(sequence, kind="stable")
        ids = ids[order]
        _, start, place, length = np.unique(sequence[order], return_index=True, return_inverse=True, return_counts=True)
        count = _looked_up(self.token, self.token_count, ids)
        frequency = np.log((count + 1) / (self.token_count.sum() + len(self.token)))
        ranked = frequency[np.lexsort((frequency, place))]
        quantiles = [ranked[start + np.rint(q * (length - 1)).astype(int)] for q in _QUANTILES]
        within = place[:-1] == place[1:]
        # An id that the text does not have would be taken for another pair's.
        known = (ids[:-1] < self.base) & (ids[1:] < self.base)
        pairs = _looked_up(self.pair, self.pair_count, np.where(known, ids[:-1] * self.base + ids[1:], -1))
        pair_frequency = np.log((pairs + 1) / (count[:-1] + len(self.token)))

        def mean_of_pairs(values: np.ndarray) -> np.ndarray:
            return np.bincount(place[:-1][within], values[within], len(length)) / np.maximum(length - 1, 1)

        kinds = np.unique(np.stack([place, ids]), axis=1)[0]
        return np.stack(
            [
                np.bincount(place, frequency) / length,
                *quantiles,
                mean_of_pairs(pair_frequency),
                mean_of_pairs((pairs == 0).astype(float)),
                np.bincount(kinds) / length,
                np.log(length),
            ],
            axis=1,
        )


def _looked_up(known: np.ndarray, count: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Counts of what is wanted, 0 where it is not known."""
    if not len(known):
        return np.zeros(len(wanted), np.int64)
    place = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
    return np.where(known[place] == wanted, count[place], 0)


def _checked(token_id: Any, sequence: Any) -> tuple[np.ndarray, np.ndarray]:
    """Ids and sequences, those of a sequence one after another."""
    ids, sequence = np.asarray(token_id), np.asarray(sequence)
    if ids.ndim != 1 or ids.shape != sequence.shape or ids.dtype.kind not in "iu" or not len(ids):
        raise ValueError(
            f"token_id: got {ids.dtype} of shape {ids.shape} for sequences of shape {sequence.shape}, expected "
            "(tokens,) whole numbers and as many sequences; flatten rows, and repeat the number of each"
        )
    if ids.min() < 0 or ids.max() >= 2**31:
        raise ValueError(f"token_id: got {ids.min()} to {ids.max()}, expected 0 to 2^31 - 1; leave out padding")
    order = np.argsort(sequence, kind="stable")
    return ids.astype(np.int64)[order], sequence[order]
