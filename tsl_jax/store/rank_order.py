"""One order for the tokens of many ranks: that of their sequences, whichever rank holds them."""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from .errors import StoreError
from .reading import read_rows


@dataclasses.dataclass(frozen=True)
class RankOrder:
    """Pieces of consecutive rows of ranks, in the order of their tokens.

    Attributes:
        rank: (pieces,) whose rows.
        first: (pieces,) first row.
        begin: (pieces + 1,) tokens before each piece; last, all tokens.
    """

    rank: np.ndarray
    first: np.ndarray
    begin: np.ndarray

    @property
    def num_tokens(self) -> int:
        """Tokens of all ranks, those that two hold once."""
        return int(self.begin[-1])

    def places(self, start: int, stop: int) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        """Where some consecutive tokens are: of each rank that has any, their places among those, and its rows."""
        pieces = np.arange(np.searchsorted(self.begin, start, "right") - 1, np.searchsorted(self.begin, stop, "left"))
        low = np.maximum(self.begin[pieces], start)
        lengths = np.minimum(self.begin[pieces + 1], stop) - low
        token = np.arange(start, stop)
        rows = token + np.repeat(self.first[pieces] - self.begin[pieces], lengths)
        rank = np.repeat(self.rank[pieces], lengths)
        for number in np.unique(rank):
            place = np.flatnonzero(rank == number)
            yield int(number), place, rows[place]


def order_of(name: str, ranks: list[Mapping[str, Any]]) -> RankOrder:
    """The order of the tokens by sequence and position; what two ranks hold is taken from the first.

    Args:
        name: of the place, for messages.
        ranks: arrays `sequence`, `position` and, if there is one, `token_id` of each, sorted by the first two.

    Raises:
        StoreError: two ranks hold unlike tokens at one place of a sequence.
    """
    found = [_pieces(number, tokens) for number, tokens in enumerate(ranks)]
    sequence, position, rank, first, length = (np.concatenate(parts) for parts in zip(*found, strict=True))
    order = np.lexsort((rank, position, sequence))
    sequence, position, rank, first, length = (array[order] for array in (sequence, position, rank, first, length))
    again = np.flatnonzero((np.diff(sequence) == 0) & (position[1:] < (position + length)[:-1])) + 1
    for at in again:
        _check_same(name, ranks, sequence[at], [(rank[i], first[i], position[i], length[i]) for i in (at - 1, at)])
    kept = np.setdiff1d(np.arange(len(rank)), again)
    return RankOrder(rank[kept], first[kept], np.concatenate([[0], np.cumsum(length[kept])]))


def _pieces(number: int, tokens: Mapping[str, Any]) -> tuple[np.ndarray, ...]:
    """Runs of rows of one sequence and consecutive positions: sequence, first position, rank, first row, rows."""
    size = tokens["sequence"].shape[0]
    sequence, position = (read_rows(tokens[key], 0, size).astype(np.int64) for key in ("sequence", "position"))
    begins = np.flatnonzero((np.diff(sequence, prepend=-1) != 0) | (np.diff(position, prepend=-2) != 1))
    begins = begins if size else np.empty(0, np.int64)
    lengths = np.diff(np.append(begins, size))
    return sequence[begins], position[begins], np.full(len(begins), number), begins, lengths


def _check_same(name: str, ranks: list[Mapping[str, Any]], sequence: int, pieces: list[tuple[Any, ...]]) -> None:
    (one, row, start, size), (other, again, begin, length) = pieces
    same = (start, size) == (begin, length)
    if same and "token_id" in ranks[one]:
        ids = [read_rows(ranks[rank]["token_id"], at, at + size) for rank, at in ((one, row), (other, again))]
        same = np.array_equal(ids[0], ids[1])
    if not same:
        raise StoreError(
            f"{name}: ranks {one} and {other} hold unlike tokens of sequence {sequence}; expected a number of its own "
            "for each sequence of the whole validation set: with a DistributedSampler without shuffling it is "
            "rank + ranks * numpy.arange(...)"
        )
