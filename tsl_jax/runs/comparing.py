"""The pass over the tokens of several runs, whose result does not depend on blocks or their order."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Int

from .bins import signed_index
from .components import RunComponents
from .counts import RunCounts, count
from .plan import DIFFERENCE_BINS, ERROR_BINS, TIME_BINS, Z_BINS, ComparisonPlan
from .report import components_of, pair_comparison
from .results import RunComparison
from .tokens import FittedTokens, TokenKind, kinds_of


@dataclasses.dataclass(frozen=True)
class RunBlock:
    """The same tokens in every run.

    Attributes:
        fits: of the tokens, one item a run, arrays (tokens,).
        group: (tokens,) a number from 0 to `RESAMPLES` - 1 that tokens of one sequence share.
    """

    fits: Sequence[FittedTokens]
    group: Int[np.ndarray, " tokens"]


@dataclasses.dataclass(frozen=True)
class CompareRuns:
    """Fits of the same tokens in several runs -> `RunComparison`.

    Args:
        plan: what is counted.
        names: of the runs.
        components: of other runs, to be judged by these; by default they are estimated from these.
        level: probability of the intervals that the components make hold.
    """

    plan: ComparisonPlan
    names: tuple[str, ...]
    components: RunComponents | None = None
    level: float = 0.9

    def start(self) -> RunCounts:
        """Counts of no tokens."""
        return RunCounts.zeros(self.plan)

    def add(self, counts: RunCounts, block: RunBlock) -> RunCounts:
        """Count the tokens of a block; ``counts`` is changed and handed back."""
        plan = self.plan
        kinds = [kinds_of(fits, plan.event is not None) for fits in block.fits]
        values = {
            name: [coordinate.of(np.asarray(fits.params[name]), np.asarray(fits.stderr[name])) for fits in block.fits]
            for name, coordinate in plan.coordinates.items()
        }
        for pair, (one, two) in enumerate(plan.pairs):
            count(counts.kinds[pair], kinds[one], kinds[two])
            for place, kind in enumerate(plan.compared):
                both = np.flatnonzero((kinds[one] == kind) & (kinds[two] == kind))
                for number, name in enumerate(plan.names):
                    (y_one, s_one), (y_two, s_two) = values[name][one], values[name][two]
                    known = both[np.isfinite(s_one[both] + s_two[both] + y_one[both] + y_two[both])]
                    columns = y_one[known], y_two[known], np.hypot(s_one[known], s_two[known])
                    times = self._times(values, one, two, known)
                    where = pair, place, number
                    binned = self._add_parameter(counts, where, kind, columns, times, block.group[known])
                    if name == plan.event and kind == TokenKind.FALLS:
                        self._add_events(counts, pair, columns, binned, self._sharpness(values, one, two, known))
        return counts

    def merge(self, one: RunCounts, two: RunCounts) -> RunCounts:
        """Counts of the tokens of both."""
        return one + two

    def finish(self, counts: RunCounts) -> RunComparison:
        """What the counts say."""
        components = self.components
        if components is None:
            components = components_of(self.plan, counts, self.level)
        pairs = {pair: pair_comparison(self.plan, counts, components, at) for at, pair in enumerate(self.plan.pairs)}
        whole = pair_comparison(self.plan, counts, components)
        return RunComparison(self.names, components, self.components is None, whole, pairs, self.plan, counts)

    def _add_parameter(self, counts: RunCounts, at: tuple[int, int, int], kind: TokenKind, columns, times, group):
        """Count one parameter; the bins of ranks in both runs, of learning times, errors and differences."""
        y_one, y_two, error = columns
        name = self.plan.names[at[2]]
        edges, size = self.plan.rank_edges[kind, name], self.plan.coordinates[name].size
        ranks = np.searchsorted(edges, y_one), np.searchsorted(edges, y_two)
        difference = y_two - y_one
        errors, sizes = ERROR_BINS.index(error / (np.sqrt(2) * size)), DIFFERENCE_BINS.index(abs(difference) / size)
        count(counts.ranks[at], *ranks)
        count(counts.differences[at], signed_index(DIFFERENCE_BINS, difference / size))
        count(counts.z[at], signed_index(Z_BINS, difference / error))
        count(counts.scatter[at], times, errors, sizes)
        count(counts.resampled[:, at[1], at[2]], group, errors, sizes)
        return *ranks, times, errors, sizes

    def _add_events(self, counts: RunCounts, pair: int, columns, binned, sharpness) -> None:
        """Count falling events by sharpness, and for the picture of learning times."""
        times = [np.searchsorted(self.plan.time_edges, y, side="right") - 1 for y in columns[:2]]
        count(counts.times[pair], *(np.clip(place, 0, TIME_BINS - 1) for place in times))
        if sharpness is not None:
            count(counts.sharp_ranks[pair], sharpness, *binned[:2])
            count(counts.sharp_scatter[pair], sharpness, *binned[2:])

    def _times(self, values, one: int, two: int, known) -> Int[np.ndarray, " tokens"]:
        """The bin of the mean learning time of tokens whose kinds are known; 0 for families without events."""
        if self.plan.event is None:
            return np.zeros(len(known), np.int64)
        first, second = (values[self.plan.event][run][0][known] for run in (one, two))
        return np.searchsorted(self.plan.component_edges, (first + second) / 2)

    def _sharpness(self, values, one: int, two: int, known) -> Int[np.ndarray, " tokens"] | None:
        """The group by sharpness of tokens whose kinds are known."""
        if "sharpness" not in values:
            return None
        first, second = (values["sharpness"][run][0][known] for run in (one, two))
        return np.searchsorted(self.plan.sharpness_edges, (first + second) / 2)
