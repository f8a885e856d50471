"""Runs that compete at a budget: whether they measured the same tokens, and their last losses."""

import dataclasses
from typing import Any

import numpy as np

from ..store import LossStore
from ..stream.parts import Part

#: Name of a coordinate, token, its value, and the value that was expected.
Difference = tuple[str, int, Any, Any]
#: First token of some, and of each coordinate its values in the other run and in the first one.
Columns = tuple[int, list[tuple[np.ndarray, np.ndarray]]]


@dataclasses.dataclass(frozen=True)
class CompetingRun:
    """One run: its store, and what it spent."""

    store: LossStore
    budget: float

    def last(self, start: int, stop: int) -> np.ndarray:
        """Losses of its last checkpoint, (tokens,) float64."""
        return self.store.read(slice(start, stop))[:, -1].astype(np.float64)


@dataclasses.dataclass(frozen=True)
class FirstDifference:
    """The pass that finds the first token with another coordinate in two runs: its name, the token, and both values.

    Attributes:
        first: a run.
        other: another one with as many tokens.
        names: of the coordinates, the first of which is told.
    """

    first: LossStore
    other: LossStore
    names: tuple[str, ...]

    def read(self, part: Part) -> Columns:
        """Coordinates of some tokens in both runs, and which is the first token."""
        pairs = [
            [store.read_coordinate(name, part.tokens) for store in (self.other, self.first)] for name in self.names
        ]
        return part.start, [(one, two) for one, two in pairs]

    def start(self) -> Difference | None:
        """Nothing was found."""
        return None

    def add(self, found: Difference | None, block: Columns) -> Difference | None:
        """The first difference, with more tokens."""
        start, pairs = block
        for name, (got, wanted) in zip(self.names, pairs, strict=True):
            unlike = np.flatnonzero(got != wanted)
            if len(unlike):
                at = int(unlike[0])
                found = self.merge(found, (name, start + at, got[at], wanted[at]))
        return found

    def merge(self, one: Difference | None, other: Difference | None) -> Difference | None:
        """The earlier one; of one token's the first by name in the order of the names."""
        return min((each for each in (one, other) if each is not None), key=self._place, default=None)

    def _place(self, found: Difference) -> tuple[int, int]:
        return found[1], self.names.index(found[0])

    def finish(self, found: Difference | None) -> Difference | None:
        """The difference; None if there is none."""
        return found


@dataclasses.dataclass(frozen=True)
class LastLosses:
    """The pass over runs of the same tokens that adds up their last losses over the tokens that all measured.

    Attributes:
        runs: what is added up, run by run.
    """

    runs: tuple[CompetingRun, ...]

    def read(self, part: Part) -> np.ndarray:
        """Last losses of some tokens, (runs, tokens)."""
        return np.stack([run.last(part.start, part.stop) for run in self.runs])

    def start(self) -> tuple[np.ndarray, int]:
        """Sums (runs,) over no tokens, and their number."""
        return np.zeros(len(self.runs)), 0

    def add(self, sums: tuple[np.ndarray, int], losses: np.ndarray) -> tuple[np.ndarray, int]:
        """Sums with more tokens."""
        measured = np.all(np.isfinite(losses), axis=0)
        return sums[0] + losses[:, measured].sum(axis=1), sums[1] + int(measured.sum())

    def merge(self, one: tuple[np.ndarray, int], other: tuple[np.ndarray, int]) -> tuple[np.ndarray, int]:
        """Sums over the tokens of both."""
        return one[0] + other[0], one[1] + other[1]

    def finish(self, sums: tuple[np.ndarray, int]) -> tuple[np.ndarray, int]:
        """The sums."""
        return sums
