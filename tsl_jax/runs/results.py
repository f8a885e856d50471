"""What a comparison of runs says: ranks, differences in units of their errors, coverage, what repeats."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Int

from .component import Events
from .components import RunComponents
from .counts import RunCounts
from .plan import ComparisonPlan
from .tokens import TokenKind


@dataclasses.dataclass(frozen=True)
class ParameterComparison:
    """One parameter in two runs, or in all pairs of several.

    Differences are those of the second run less the first, in the coordinate of the comparison (`Coordinate`); z is a
    difference in units of its standard error ``sqrt(s_first² + s_second²)``.

    Attributes:
        parameter: its name.
        events: ``"falling"`` or ``"rising"``; ``"all"`` for families without events.
        unit: of the coordinate, ``"1"`` for logarithms.
        tokens: with a finite error in both runs.
        without_error: tokens of the same kind in both runs that have none in at least one.
        rank_correlation: Spearman's, of the values in the two runs.
        median_difference: what shifts all tokens.
        run_std: standard deviation of a run around the tokens' own values, from the central 68% of the differences.
        typical_error: the median standard error in one run, which would be `run_std` if runs differed by it alone.
        z_quantiles: at levels 0.05, 0.25, 0.5, 0.75, 0.95; of a normal distribution -1.64, -0.67, 0, 0.67, 1.64.
        coverage: fraction of the differences within their 50, 90 and 99% intervals.
        coverage_by_error: of the 90% intervals, in quarters of the tokens by their standard errors.
        coverage_by_time: of the 90% intervals, in thirds of the tokens by their learning times; empty without events.
        coverage_between_runs: `coverage` with the component.
        coverage_between_runs_by_error: `coverage_by_error` with the component.
        coverage_between_runs_by_time: `coverage_by_time` with the component.
    """

    parameter: str
    events: Events
    unit: str
    tokens: int
    without_error: int
    rank_correlation: float
    median_difference: float
    run_std: float
    typical_error: float
    z_quantiles: tuple[float, ...]
    coverage: tuple[float, ...]
    coverage_by_error: tuple[float, ...]
    coverage_by_time: tuple[float, ...]
    coverage_between_runs: tuple[float, ...]
    coverage_between_runs_by_error: tuple[float, ...]
    coverage_between_runs_by_time: tuple[float, ...]


@dataclasses.dataclass(frozen=True)
class SharpnessGroup:
    """Learning times of falling events whose sharpness lies between two values.

    Attributes:
        least: lower end of the group's sharpness (geometric mean of the two runs), 1/u; 0 for the first group.
        most: upper end, infinite for the last.
        tokens: compared.
        rank_correlation: Spearman's, of their learning times.
        run_std: standard deviation of a run, as in `ParameterComparison`.
        typical_error: the median standard error in one run.
        coverage: of 90% intervals.
        coverage_between_runs: the same with the component.
    """

    least: float
    most: float
    tokens: int
    rank_correlation: float
    run_std: float
    typical_error: float
    coverage: float
    coverage_between_runs: float


@dataclasses.dataclass(frozen=True)
class KindRepeats:
    """How well one kind of token repeats.

    Attributes:
        kind: `TokenKind`.
        first: tokens of this kind in the first run (of all pairs).
        second: in the second.
        both: in both.
        fraction: ``both`` as a fraction of the mean of ``first`` and ``second``; NaN without any.
        by_chance: what that share would be if the two runs had nothing to do with each other.
    """

    kind: TokenKind
    first: int
    second: int
    both: int
    fraction: float
    by_chance: float


@dataclasses.dataclass(frozen=True)
class PairComparison:
    """Two runs, or all pairs of several, compared.

    Attributes:
        kinds: (kinds, kinds) tokens by their `TokenKind` in the first run (rows) and the second.
        parameters: of the tokens whose parameters can be compared.
        by_sharpness: learning times by sharpness; empty for families without.
    """

    kinds: Int[np.ndarray, "kinds kinds"]
    parameters: tuple[ParameterComparison, ...]
    by_sharpness: tuple[SharpnessGroup, ...]

    @property
    def tokens(self) -> int:
        """Tokens, times pairs of runs."""
        return int(self.kinds.sum())

    @property
    def repeats(self) -> tuple[KindRepeats, ...]:
        """How well each kind repeats that occurs."""
        first, second = self.kinds.sum(axis=1), self.kinds.sum(axis=0)
        found = []
        for kind in TokenKind:
            one, two, both = int(first[kind]), int(second[kind]), int(self.kinds[kind, kind])
            if one or two:
                mean = (one + two) / 2
                found.append(KindRepeats(kind, one, two, both, both / mean, one * two / self.tokens / mean))
        return tuple(found)

    @property
    def left_out(self) -> dict[str, int]:
        """Tokens whose parameters were not compared, by the first reason that applies."""
        table = self.kinds.copy()
        reasons = {}
        for reason, kinds in _REASONS.items():
            reasons[reason] = int(table[kinds].sum() + table[:, kinds].sum() - table[np.ix_(kinds, kinds)].sum())
            table[kinds], table[:, kinds] = 0, 0
        apart = int(table[TokenKind.FALLS, TokenKind.RISES] + table[TokenKind.RISES, TokenKind.FALLS])
        return reasons | {"falls in one run and rises in the other": apart}

    def as_dict(self) -> dict[str, Any]:
        """As JSON can hold it; kinds by name."""
        repeats = [dataclasses.asdict(one) | {"kind": one.kind.name} for one in self.repeats]
        return {
            "tokens": self.tokens,
            "left_out": self.left_out,
            "kinds": {"names": [kind.name for kind in TokenKind], "tokens": self.kinds.tolist()},
            "repeats": repeats,
            "parameters": [dataclasses.asdict(one) for one in self.parameters],
            "by_sharpness": [dataclasses.asdict(one) for one in self.by_sharpness],
        }

    def of(self, parameter: str, events: Events = "falling") -> ParameterComparison:
        """The comparison of one parameter.

        Raises:
            KeyError: there is none.
        """
        for found in self.parameters:
            if found.parameter == parameter and found.events == events:
                return found
        raise KeyError(f"no parameter {parameter!r} of {events} events was compared")


_REASONS = {
    "no fit in a run": [TokenKind.NO_FIT],
    "no event in a run": [TokenKind.UNLEARNED],
    "event outside the window in a run": [TokenKind.EARLY, TokenKind.LATE],
}


@dataclasses.dataclass(frozen=True)
class RunComparison:
    """Several runs of the same tokens, compared.

    Attributes:
        names: of the runs.
        components: by how much errors between runs exceed standard errors.
        estimated: whether the components come from these runs; else they were given, and coverage with them judges
            them.
        all_pairs: all pairs of runs together.
        pairs: each pair by the places of its runs in ``names``.
        plan: bins and coordinates of ``counts``.
        counts: what was counted.
        notes: what differs between the runs' stores and yet allows a comparison, as sentences.
        axis_name: name of the axis of the fits.
        scale: of the fits.
    """

    names: tuple[str, ...]
    components: RunComponents
    estimated: bool
    all_pairs: PairComparison
    pairs: Mapping[tuple[int, int], PairComparison]
    plan: ComparisonPlan
    counts: RunCounts
    notes: tuple[str, ...] = ()
    axis_name: str = "step"
    scale: str = "log"

    def as_dict(self) -> dict[str, Any]:
        """Everything but the counts, as JSON can hold it (NaN and infinity are left to the writer)."""
        return {
            "runs": list(self.names),
            "axis": self.axis_name,
            "scale": self.scale,
            "notes": list(self.notes),
            "components": self.components.as_dict(),
            "components_estimated_here": self.estimated,
            "all_pairs": self.all_pairs.as_dict(),
            "pairs": [{"runs": list(pair)} | found.as_dict() for pair, found in self.pairs.items()],
        }
