"""From the counts of a comparison to what they say."""

import itertools
from collections.abc import Mapping
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from .bins import quantile, signed_edges
from .component import Events, RunComponent, estimate_component
from .components import RunComponents
from .counts import RunCounts
from .plan import DIFFERENCE_BINS, Z_BINS, ComparisonPlan
from .ranks import rank_correlation
from .results import PairComparison, ParameterComparison, SharpnessGroup
from .scatter import ERROR_GROUPS, TIME_GROUPS, RunScatter
from .tokens import TokenKind

#: Probabilities of the intervals whose coverage is reported, and levels of the quantiles of z.
LEVELS = (0.5, 0.9, 0.99)
Z_LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)
EVENTS: dict[TokenKind, Events] = {TokenKind.FALLS: "falling", TokenKind.RISES: "rising", TokenKind.FITTED: "all"}
#: Share of a normal distribution within one standard deviation.
_ONE_SIGMA = 0.6826894921370859

_Totals = Mapping[str, Int[np.ndarray, "..."]]


def components_of(plan: ComparisonPlan, counts: RunCounts, level: float) -> RunComponents:
    """The component of every parameter and kind of event, from all pairs of runs."""
    found = []
    for place, kind in enumerate(plan.compared):
        for number, name in enumerate(plan.names):
            by_time = None
            if plan.event is not None and len(plan.component_edges):
                edges = plan.coordinates[plan.event].value(plan.component_edges, np.ones(1))[0]
                by_time = plan.event, edges.tolist(), counts.scatter[:, place, number].sum(axis=0)
            resampled = counts.resampled[:, place, number]
            found.append(estimate_component(name, EVENTS[kind], plan.coordinates[name], resampled, level, by_time))
    return RunComponents(tuple(found))


def pair_comparison(
    plan: ComparisonPlan, counts: RunCounts, components: RunComponents, pair: int | None = None
) -> PairComparison:
    """What is said of one pair of runs of the plan; of all together where none is named."""
    rows = slice(None) if pair is None else slice(pair, pair + 1)
    totals = {
        name: getattr(counts, name)[rows].sum(axis=0)
        for name in ("kinds", "ranks", "differences", "z", "scatter", "sharp_ranks", "sharp_scatter")
    }
    parameters = tuple(
        _parameter(plan, totals, (place, number), components)
        for place in range(len(plan.compared))
        for number in range(len(plan.names))
    )
    return PairComparison(totals["kinds"], parameters, _by_sharpness(plan, totals, components))


def _parameter(
    plan: ComparisonPlan, totals: _Totals, at: tuple[int, int], components: RunComponents
) -> ParameterComparison:
    kind, name = plan.compared[at[0]], plan.names[at[1]]
    events, coordinate = EVENTS[kind], plan.coordinates[name]
    scatter, z = RunScatter.of(totals["scatter"][at]), totals["z"][at]
    form = form_of(plan, components.find(name, events), coordinate.size)
    return ParameterComparison(
        parameter=name,
        events=events,
        unit=coordinate.unit,
        tokens=scatter.tokens,
        without_error=int(totals["kinds"][kind, kind]) - scatter.tokens,
        rank_correlation=rank_correlation(totals["ranks"][at]),
        median_difference=coordinate.size * quantile(totals["differences"][at], signed_edges(DIFFERENCE_BINS), 0.5),
        run_std=coordinate.size * _run_std(totals["scatter"][at].sum(axis=0)),
        typical_error=coordinate.size * scatter.typical_error,
        z_quantiles=tuple(quantile(z, signed_edges(Z_BINS), level) for level in Z_LEVELS),
        coverage=tuple(_coverage_of_z(z, level) for level in LEVELS),
        coverage_by_error=_by_error(scatter, _AS_CLAIMED),
        coverage_by_time=_by_time(scatter, _AS_CLAIMED),
        coverage_between_runs=tuple(_coverage(scatter, form, level) for level in LEVELS),
        coverage_between_runs_by_error=_by_error(scatter, form),
        coverage_between_runs_by_time=_by_time(scatter, form),
    )


def _by_sharpness(plan: ComparisonPlan, totals: _Totals, components: RunComponents) -> tuple[SharpnessGroup, ...]:
    if plan.event is None or "sharpness" not in plan.coordinates:
        return ()
    ends = np.exp(np.concatenate([[-np.inf], plan.sharpness_edges, [np.inf]]))
    size = plan.coordinates[plan.event].size
    form = form_of(plan, components.find(plan.event, "falling"), size)
    groups = []
    for place, (least, most) in enumerate(itertools.pairwise(ends)):
        table = totals["sharp_scatter"][place]
        scatter = RunScatter.of(table)
        groups.append(
            SharpnessGroup(
                least=float(least),
                most=float(most),
                tokens=scatter.tokens,
                rank_correlation=rank_correlation(totals["sharp_ranks"][place]),
                run_std=size * _run_std(table.sum(axis=0)),
                typical_error=size * scatter.typical_error,
                coverage=_coverage(scatter, _AS_CLAIMED, 0.9),
                coverage_between_runs=_coverage(scatter, form, 0.9),
            )
        )
    return tuple(groups)


class AddedVariance(NamedTuple):
    """The variance between runs at each standard error and learning time, in units of the coordinate's size."""

    factor: float
    additive: float
    by_time: Float[np.ndarray, " times"] | float = 1.0


#: Standard errors as they are.
_AS_CLAIMED = AddedVariance(1.0, 0.0)


def form_of(plan: ComparisonPlan, component: RunComponent | None, size: float) -> AddedVariance:
    """What a component says of the tokens counted in each bin of learning times; NaN where it is not known."""
    if component is None:
        return AddedVariance(np.nan, np.nan)
    by_time = 1.0
    if component.times is not None and plan.event is not None:
        # Any time within each bin; given components have the plan's own edges.
        edges = plan.component_edges
        within = np.concatenate([edges[:1] - 1, (edges[1:] + edges[:-1]) / 2, edges[-1:] + 1])
        by_time = component.times.at(plan.coordinates[plan.event].value(within, np.ones(1))[0])
    return AddedVariance(component.factor, component.additive / size**2, by_time)


def _run_std(table: Int[np.ndarray, "errors differences"]) -> float:
    """Standard deviation of one run by the size of difference below which 68% lie."""
    return quantile(table.sum(axis=0), DIFFERENCE_BINS.edges, _ONE_SIGMA) / np.sqrt(2)


def _coverage_of_z(z: Int[np.ndarray, " bins"], level: float) -> float:
    """Share of the differences within the interval of this probability; NaN without any."""
    size = z[Z_BINS.number :] + z[: Z_BINS.number][::-1]
    inside = Z_BINS.below(size, np.asarray(NormalDist().inv_cdf((1 + level) / 2)))
    return float(inside / size.sum()) if size.sum() else float("nan")


def _coverage(scatter: RunScatter, form: AddedVariance, level: float) -> float:
    """Share of the differences within their intervals; NaN where there are none, or the form is not known."""
    known = scatter.tokens and np.isfinite(form.factor)
    return scatter.coverage(form.factor, form.additive, level, form.by_time) if known else float("nan")


def _by_error(scatter: RunScatter, form: AddedVariance) -> tuple[float, ...]:
    """Coverage of 90% intervals in quarters of the tokens by their errors."""
    if not scatter.tokens or not np.isfinite(form.factor):
        return (float("nan"),) * ERROR_GROUPS
    return tuple(map(float, scatter.coverage_by_error(form.factor, form.additive, 0.9, form.by_time)))


def _by_time(scatter: RunScatter, form: AddedVariance) -> tuple[float, ...]:
    """Coverage of 90% intervals in thirds of the tokens by their learning times; empty without such."""
    if len(scatter.below) < 2:
        return ()
    if not scatter.tokens or not np.isfinite(form.factor):
        return (float("nan"),) * TIME_GROUPS
    return tuple(map(float, scatter.coverage_by_time(form.factor, form.additive, 0.9, form.by_time)))
