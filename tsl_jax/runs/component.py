"""How much further apart the parameters of two runs lie than their standard errors say."""

import dataclasses
from collections.abc import Sequence
from typing import Literal

import numpy as np
from jaxtyping import Float, Int

from .coordinates import Coordinate
from .scatter import ERROR_GROUPS, RunScatter
from .time_factors import TimeFactors, factors_by_time

Events = Literal["falling", "rising", "all"]
Form = Literal["none", "additive", "factor", "both", "unknown"]

#: Fewer tokens than this say nothing about how runs differ.
LEAST_TOKENS = 30
#: The simpler form is kept unless coverage over groups of errors is worse by more than this (root mean square).
_TOLERANCE = 0.01
#: Intervals of a quarter of the tokens may hold by so much less than their level before that counts.
_SHORT = 0.02
_FORMS: tuple[Form, ...] = ("additive", "factor", "both")
#: Factors that are tried beside an additive variance, as fractions of the factor that does alone.
_FRACTIONS = np.linspace(0, 1, 65)
_HALVINGS = 50


@dataclasses.dataclass(frozen=True)
class RunComponent:
    """By how much the error of a parameter between runs exceeds its standard error within one.

    ``error between runs = sqrt(factor · s² + additive)``, s the standard error in the coordinate of the comparison.
    ``additive`` is what differs between runs for all tokens alike. ``factor`` is what grows with the standard error:
    noise that it misses, and misfit of the law. Where runs differ more, or less, early in training than late, this
    variance is multiplied by what `times` says of a token's learning time.

    Attributes:
        parameter: its name.
        events: ``"falling"`` or ``"rising"``; ``"all"`` for families without events.
        coordinate: ``"ln"`` where s is ``stderr / value``, ``"plain"`` where it is the standard error itself.
        additive: a variance, the coordinate's unit squared.
        factor: on s².
        form: which of the two the runs asked for: ``"none"``, ``"additive"``, ``"factor"``, ``"both"``; ``"unknown"``
            with NaN for both where there were fewer than 30 tokens to compare.
        level: intervals of this probability hold their share of the differences.
        tokens: comparisons (a token in a pair of runs) that this comes from.
        typical_error: median standard error s of these tokens.
        between_runs: error between runs of a token with that s, all learning times together.
        between_runs_stderr: its standard error over sequences, the runs being these; other runs may differ by more.
        times: factors by learning time; None where it makes no difference, and for families without events.
    """

    parameter: str
    events: Events
    coordinate: Literal["ln", "plain"]
    additive: float
    factor: float
    form: Form
    level: float
    tokens: int
    typical_error: float
    between_runs: float
    between_runs_stderr: float
    times: TimeFactors | None = None

    @property
    def fraction(self) -> float:
        """Share of the variance between runs of a typical token that its standard error does not hold."""
        return float(1 - (self.typical_error / self.between_runs) ** 2)

    def widened(
        self,
        stderr: Float[np.ndarray, "..."],
        value: Float[np.ndarray, "..."],
        time: Float[np.ndarray, "..."] | None = None,
    ) -> Float[np.ndarray, "..."]:
        """Errors between runs from standard errors, both in the parameter's own unit.

        Args:
            stderr: standard errors; NaN stays NaN.
            value: the parameters.
            time: when tokens are learned, axis units; where it is not known they get what holds for all together.

        Example:
            >>> component = RunComponent("sharpness", "falling", "ln", 0.04, 1.0, "additive", 0.9, 99, 0.1, 0.2, 0.0)
            >>> component.widened(np.array([10.0]), np.array([100.0])).round(1).tolist()
            [22.4]
        """
        size = np.abs(np.asarray(value, np.float64)) if self.coordinate == "ln" else 1.0
        square = self.factor * np.square(np.asarray(stderr, np.float64)) + self.additive * np.square(size)
        return np.sqrt(square * self.factor_at(time))

    def variance(
        self, error: Float[np.ndarray, "..."], time: Float[np.ndarray, "..."] | None = None
    ) -> Float[np.ndarray, "..."]:
        """Variance between runs at standard errors in the coordinate; that of the errors alone if no more is known."""
        factor, additive = (1.0, 0.0) if self.form == "unknown" else (self.factor, self.additive)
        return (factor * np.square(error) + additive) * self.factor_at(time)

    def factor_at(self, time: Float[np.ndarray, "..."] | None) -> Float[np.ndarray, "..."] | float:
        """The factor on the variance of tokens learned at these times."""
        return 1.0 if self.times is None or time is None else self.times.at(time)


def estimate_component(
    parameter: str,
    events: Events,
    coordinate: Coordinate,
    scatter: Int[np.ndarray, "resamples errors differences"],
    level: float = 0.9,
    by_time: tuple[str, Sequence[float], Int[np.ndarray, "times errors differences"]] | None = None,
) -> RunComponent:
    """The component with which intervals hold their share of the differences between runs.

    Tails of the differences are heavy, so that their moments would follow a few tokens: the share of the differences
    within the interval is matched instead. One of additive and factor is enough where coverage is then as even over
    quarters of the tokens by their errors as with both; with both the factor may be below 1, where great errors claim
    too much and small ones too little.

    Args:
        parameter: its name.
        events: which tokens these are.
        coordinate: in which they were compared.
        scatter: counts of `RunCounts.resampled`, by group of sequences.
        level: probability of the intervals.
        by_time: the parameter that says when a token is learned, edges between bins of it in axis units, and counts of
            all tokens by these bins; None where that says nothing.
    """
    known = {"parameter": parameter, "events": events, "coordinate": coordinate.kind, "level": level}
    whole, unit = RunScatter.of(scatter.sum(axis=0)), coordinate.size
    tokens, typical = whole.tokens, unit * whole.typical_error
    if tokens < LEAST_TOKENS:
        nan = float("nan")
        return RunComponent(**known, additive=nan, factor=nan, form="unknown", tokens=tokens, typical_error=typical,
                            between_runs=nan, between_runs_stderr=nan)  # fmt: skip
    form, factor, additive = _chosen(whole, level)
    times = None
    if by_time is not None:
        found = factors_by_time(RunScatter.of(by_time[2]), factor, additive, level)
        times = None if found is None else TimeFactors(by_time[0], tuple(by_time[1]), tuple(found.tolist()))

    def at_typical(factor: float, additive: float) -> float:
        return float(np.sqrt(factor * typical**2 + additive * unit**2))

    table = scatter.sum(axis=0)
    rest = [at_typical(*_chosen(RunScatter.of(table - one), level)[1:]) for one in scatter if one.any()]
    scatter_of_rest = np.sqrt((len(rest) - 1) / len(rest) * np.sum(np.square(np.subtract(rest, np.mean(rest)))))
    return RunComponent(
        **known,
        additive=float(additive * unit**2),
        factor=float(factor),
        form=form,
        tokens=tokens,
        typical_error=typical,
        between_runs=at_typical(factor, additive),
        between_runs_stderr=float(scatter_of_rest) if len(rest) > 1 else float("nan"),
        times=times,
    )


def _chosen(scatter: RunScatter, level: float) -> tuple[Form, float, float]:
    """The simplest form that does, with its factor and additive variance.

    Standard errors are left as they are unless intervals of all tokens, or of a quarter of them, hold too little.
    """
    by_chance = np.sqrt(level * (1 - level) / scatter.tokens)
    least_in_group = level - max(_SHORT, 3 * np.sqrt(ERROR_GROUPS) * by_chance)
    enough = scatter.coverage(1.0, 0.0, level) >= level - 2 * by_chance
    if enough and np.all(scatter.coverage_by_error(1.0, 0.0, level) >= least_in_group):
        return "none", 1.0, 0.0
    found = {form: _fit(form, scatter, level) for form in _FORMS}
    uneven = {form: float(_unevenness(scatter, *values, level)) for form, values in found.items()}
    form = min(("additive", "factor"), key=lambda form: uneven[form])
    if uneven[form] > uneven["both"] + _TOLERANCE:
        form = "both"
    return form, *found[form]


def _fit(form: Form, scatter: RunScatter, level: float) -> tuple[float, float]:
    """Factor and additive variance of a form with which coverage is at its level."""
    if form == "none":
        return 1.0, 0.0
    if form == "additive":
        return 1.0, float(_additive(scatter, np.ones(1), level)[0])
    most = _solved(lambda factor: scatter.inside(factor, np.zeros(1), level).sum(axis=(-2, -1)), scatter, level, 1)
    if form == "factor":
        return float(most[0]), 0.0
    factor = most * _FRACTIONS  # from an additive variance alone to none
    additive = _additive(scatter, factor, level)
    best = int(np.argmin(_unevenness(scatter, factor, additive, level)))
    return float(factor[best]), float(additive[best])


def _unevenness(scatter: RunScatter, factor, additive, level: float) -> Float[np.ndarray, "*forms"]:
    """Root mean square over groups by error of coverage less its level."""
    return np.sqrt(np.mean(np.square(scatter.coverage_by_error(factor, additive, level) - level), axis=-1))


def _additive(scatter: RunScatter, factor: Float[np.ndarray, " forms"], level: float) -> Float[np.ndarray, " forms"]:
    """The additive variance that belongs to each factor; 0 where none is needed."""
    found = _solved(lambda value: scatter.inside(factor, value, level).sum(axis=(-2, -1)), scatter, level, len(factor))
    enough = scatter.inside(factor, np.zeros(len(factor)), level).sum(axis=(-2, -1)) >= level * scatter.tokens
    return np.where(enough, 0.0, found)


def _solved(inside, scatter: RunScatter, level: float, forms: int) -> Float[np.ndarray, " forms"]:
    """Where a function that increases reaches ``level`` of all tokens, by halving on the logarithm."""
    low, high = np.full(forms, np.log(1e-16)), np.full(forms, np.log(1e16))
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        less = inside(np.exp(middle)) < level * scatter.tokens
        low, high = np.where(less, middle, low), np.where(less, high, middle)
    return np.exp((low + high) / 2)
