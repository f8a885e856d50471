"""What a comparison counts, decided before it begins: coordinates, pairs of runs, bins from a sample of tokens."""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float

from .bins import LogBins
from .coordinates import Coordinate
from .tokens import COMPARED, FittedTokens, TokenKind, kinds_of

#: Bins of equally many tokens between which ranks are told apart: rank correlations are then off by less than 1e-3.
RANK_BINS = 128
#: Errors and differences, in units of `Coordinate.size`, and differences in units of their errors.
ERROR_BINS = LogBins(1e-5, 1e2, 4)
DIFFERENCE_BINS = LogBins(1e-6, 1e2, 8)
Z_BINS = LogBins(1e-3, 1e3, 64)
#: Groups of tokens by the mean ln(sharpness) of two runs, and bins of the picture of learning times.
SHARPNESS_GROUPS, TIME_BINS = 8, 96
#: Quantiles of the learning times between which components may differ: finer where few, late tokens lie.
TIME_LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.985)
#: Sequences are dealt out at random to so many groups, from which the errors of components come.
RESAMPLES = 8


@dataclasses.dataclass(frozen=True)
class ComparisonPlan:
    """What is counted; the same for every block of a comparison.

    Attributes:
        runs: how many runs there are.
        coordinates: of the parameters, by name.
        event: the parameter at which an event happens; None for families without events.
        rank_edges: where bins of ranks end, by kind of token and parameter.
        sharpness_edges: (groups - 1,) where groups by ln(sharpness) end; empty without sharpness or events.
        time_edges: (bins + 1,) edges of the picture of learning times, in its coordinate; empty without events.
        component_edges: between learning times whose components may differ, in the coordinate; empty without events.
    """

    runs: int
    coordinates: Mapping[str, Coordinate]
    event: str | None
    rank_edges: Mapping[tuple[TokenKind, str], Float[np.ndarray, " edges"]]
    sharpness_edges: Float[np.ndarray, " edges"]
    time_edges: Float[np.ndarray, " edges"]
    component_edges: Float[np.ndarray, " edges"]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the parameters."""
        return tuple(self.coordinates)

    @property
    def compared(self) -> tuple[TokenKind, ...]:
        """Kinds of tokens whose parameters are compared."""
        return COMPARED[self.event is not None]

    @property
    def pairs(self) -> tuple[tuple[int, int], ...]:
        """All pairs of runs."""
        return tuple(itertools.combinations(range(self.runs), 2))


def plan_comparison(
    sample: Sequence[FittedTokens],
    coordinates: Mapping[str, Coordinate],
    event: str | None,
    window: tuple[float, float],
    component_edges: Sequence[float] | None = None,
) -> ComparisonPlan:
    """Choose the bins of a comparison.

    Args:
        sample: of the same tokens, one item a run.
        coordinates: of the parameters, by name.
        event: the parameter at which an event happens; None for families without events.
        window: first and last checkpoint, axis units.
        component_edges: between learning times, axis units, of given components; by default quantiles of the sample.

    Returns:
        `ComparisonPlan`; it depends on the sample alone.
    """
    has_events = event is not None
    kinds = [kinds_of(fits, has_events) for fits in sample]
    values = {name: [_value(fits, name, coordinate) for fits in sample] for name, coordinate in coordinates.items()}
    edges = {
        (kind, name): _quantiles(np.concatenate([y[k == kind] for y, k in zip(values[name], kinds, strict=True)]))
        for kind in COMPARED[has_events]
        for name in coordinates
    }
    sharpness, times, between = np.empty(0), np.empty(0), np.empty(0)
    if has_events and "sharpness" in coordinates:
        mean = np.mean(values["sharpness"][:2], axis=0)
        falls = np.logical_and.reduce([k == TokenKind.FALLS for k in kinds[:2]])
        sharpness = _quantiles(mean[falls], SHARPNESS_GROUPS)
    if event is not None:
        (first, last), _ = coordinates[event].of(np.asarray(window), np.ones(2))
        times = np.linspace(first, last, TIME_BINS + 1)
        between = _between_times(coordinates[event], values[event], kinds, component_edges)
    return ComparisonPlan(len(sample), dict(coordinates), event, edges, sharpness, times, between)


def _between_times(coordinate: Coordinate, values, kinds, given: Sequence[float] | None) -> Float[np.ndarray, " edges"]:
    """Edges between bins of learning times, in their coordinate."""
    if given is not None:
        return coordinate.of(np.asarray(given), np.ones(len(given)))[0]
    falls = np.concatenate([y[k == TokenKind.FALLS] for y, k in zip(values, kinds, strict=True)])
    falls = falls[np.isfinite(falls)]
    return np.unique(np.quantile(falls, TIME_LEVELS)) if len(falls) else np.empty(0)


def _value(fits: FittedTokens, name: str, coordinate: Coordinate) -> Float[np.ndarray, " tokens"]:
    return coordinate.of(np.asarray(fits.params[name]), np.asarray(fits.stderr[name]))[0]


def _quantiles(values: Float[np.ndarray, " tokens"], bins: int = RANK_BINS) -> Float[np.ndarray, " edges"]:
    """Edges between bins of about equally many of the finite values."""
    values = values[np.isfinite(values)]
    if not len(values):
        return np.empty(0)
    return np.unique(np.quantile(values, np.arange(1, bins) / bins, method="inverted_cdf"))
