"""Which tokens of a store form a sequence, read a block at a time."""

from collections.abc import Iterator

import numpy as np

from ..store import FitStore, LossStore


def sequence_source(store: LossStore | FitStore) -> str:
    """What tells sequences apart in a store: ``"sequence"``, ``"position"``, or nothing, each ``"token"`` alone."""
    return next((name for name in ("sequence", "position") if name in store.token_coordinates), "token")


def sequence_blocks(store: LossStore | FitStore, rows: int) -> Iterator[tuple[slice, np.ndarray]]:
    """Consecutive tokens and the numbers of their sequences.

    Without the coordinate `sequence`, a new one begins wherever `position` does not increase.

    Args:
        store: an open store.
        rows: tokens in a block; whole chunks where that many fit.
    """
    rows = max(rows // store.chunk_tokens, 1) * store.chunk_tokens if store.chunk_tokens <= rows else rows
    source, before, sequences = sequence_source(store), -1, 0
    for start in range(0, store.num_tokens, rows):
        part = slice(start, min(start + rows, store.num_tokens))
        if source == "sequence":
            yield part, store.read_coordinate("sequence", part).astype(np.int64)
        elif source == "position":
            position = store.read_coordinate("position", part).astype(np.int64)
            sequence = sequences + np.cumsum(np.diff(position, prepend=before) <= 0)
            before, sequences = position[-1], sequence[-1]
            yield part, sequence
        else:
            yield part, np.arange(part.start, part.stop)
