"""Parts of a store, and which of their tokens form a sequence."""

import dataclasses
from typing import Protocol

import numpy as np

from ..store import FitStore, LossStore


class HasTokens(Protocol):
    """What has tokens: an open store, or arrays in memory."""

    @property
    def num_tokens(self) -> int:
        """Number of tokens."""
        ...

    @property
    def chunk_tokens(self) -> int:
        """Tokens in the smallest piece that can be read."""
        ...


@dataclasses.dataclass(frozen=True)
class Part:
    """Consecutive tokens of a store.

    Attributes:
        start: first token.
        stop: one past the last.
        begun: where positions alone tell sequences apart, how many began before, after the first one.
        before: likewise, the position of the token before; -1 at the start of the store.
    """

    start: int
    stop: int
    begun: int = 0
    before: int = -1

    @property
    def tokens(self) -> slice:
        """The tokens as a slice."""
        return slice(self.start, self.stop)


def parts_of(store: HasTokens, rows: int) -> list[Part]:
    """All tokens of a store in parts of ``rows`` tokens; whole chunks where that many fit."""
    rows = max(rows // store.chunk_tokens, 1) * store.chunk_tokens if store.chunk_tokens <= rows else rows
    return [Part(start, min(start + rows, store.num_tokens)) for start in range(0, store.num_tokens, rows)]


def sequence_source(store: LossStore | FitStore) -> str:
    """What tells sequences apart in a store: ``"sequence"``, ``"position"``, or nothing, each ``"token"`` alone."""
    return next((name for name in ("sequence", "position") if name in store.token_coordinates), "token")


def sequence_parts(store: LossStore | FitStore, rows: int) -> list[Part]:
    """As `parts_of`, for `sequence_numbers`: where positions alone tell sequences apart, all of them are read."""
    parts = parts_of(store, rows)
    if sequence_source(store) != "position":
        return parts
    begun, before, known = 0, -1, []
    for part in parts:
        known.append(dataclasses.replace(part, begun=begun, before=before))
        position = _positions(store, part)
        begun += int(np.count_nonzero(_begins(position, before)))
        before = int(position[-1])
    return known


def sequence_numbers(store: LossStore | FitStore, part: Part) -> np.ndarray:
    """(tokens,) numbers of the sequences of a part's tokens.

    Without the coordinate `sequence`, a new one begins wherever `position` does not increase.

    Args:
        store: an open store.
        part: of `sequence_parts`.
    """
    source = sequence_source(store)
    if source == "sequence":
        return store.read_coordinate("sequence", part.tokens).astype(np.int64)
    if source == "token":
        return np.arange(part.start, part.stop)
    return part.begun + np.cumsum(_begins(_positions(store, part), part.before))


def _positions(store: LossStore | FitStore, part: Part) -> np.ndarray:
    return store.read_coordinate("position", part.tokens).astype(np.int64)


def _begins(position: np.ndarray, before: int) -> np.ndarray:
    """Which tokens begin a sequence, the first of the store left out."""
    return np.diff(position, prepend=before) <= 0
