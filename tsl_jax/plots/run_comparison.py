"""Several runs of the same tokens: learning times against each other, differences beside their errors, by sharpness."""

import dataclasses
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..runs import PairComparison, ParameterComparison, RunComparison
from ..runs.bins import signed_edges
from ..runs.plan import Z_BINS
from ..runs.report import AddedVariance, form_of
from ..runs.scatter import RunScatter
from . import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MOST_Z, _Z_WIDTH = 6.0, 0.25


@dataclasses.dataclass(frozen=True)
class RunComparisonData:
    """What is drawn: falling events, or all tokens of families without events, over all pairs of runs.

    Attributes:
        parameter: whose values are compared, such as ``"learning_time"``.
        labels: of the first and the second run.
        axis_name: such as ``"step"``.
        scale: ``"log"`` or ``"linear"``.
        edges: (bins + 1,) of ``tokens``, axis units; shares of the tokens by rank for families without events.
        tokens: (bins, bins) tokens by their value in the first run (rows) and the second.
        rank_correlation: of all of them.
        z_edges: (z bins + 1,) differences in units of their errors.
        z: (z bins,) their density, with the standard errors.
        z_between_runs: (z bins,) the same with the component, both sides alike; NaN where that is not known.
        groups: (groups,) geometric middles of the sharpness of groups of tokens; without sharpness 1 to 4, quarters of
            the tokens by their standard errors.
        by_sharpness: whether the groups are by sharpness.
        of_events: whether values are learning times.
        group_correlation: (groups,) rank correlation in each; empty where groups are by error.
        group_coverage: (groups,) fraction of the differences within their 90% intervals.
        group_coverage_between_runs: (groups,) the same with the component.
    """

    parameter: str
    labels: tuple[str, str]
    axis_name: str
    scale: str
    edges: np.ndarray
    tokens: np.ndarray
    rank_correlation: float
    z_edges: np.ndarray
    z: np.ndarray
    z_between_runs: np.ndarray
    groups: np.ndarray
    by_sharpness: bool
    of_events: bool
    group_correlation: np.ndarray
    group_coverage: np.ndarray
    group_coverage_between_runs: np.ndarray


def run_comparison_data(found: RunComparison) -> RunComparisonData:
    """The numbers of the picture.

    Args:
        found: a comparison of runs.
    """
    plan, counts = found.plan, found.counts
    name = plan.event or plan.names[0]
    number, kind = plan.names.index(name), plan.compared[0]
    one = next(each for each in found.all_pairs.parameters if each.parameter == name)
    if plan.event:
        tokens = counts.times.sum(axis=0)
        edges = np.exp(plan.time_edges) if plan.coordinates[name].kind == "ln" else plan.time_edges
    else:
        tokens = counts.ranks[:, 0, number].sum(axis=0)[: len(plan.rank_edges[kind, name]) + 1]
        tokens = tokens[:, : len(tokens)]
        edges = np.linspace(0, 1, len(tokens) + 1)
    z_edges = np.linspace(-_MOST_Z, _MOST_Z, round(2 * _MOST_Z / _Z_WIDTH) + 1)
    component = found.components.find(name, one.events)
    form = form_of(plan, component, plan.coordinates[name].size)
    return RunComparisonData(
        parameter=name,
        labels=_labels(found.names),
        axis_name=found.axis_name,
        scale=found.scale,
        edges=edges,
        tokens=tokens,
        rank_correlation=one.rank_correlation,
        z_edges=z_edges,
        z=_density(counts.z[:, 0, number].sum(axis=0), z_edges),
        z_between_runs=_density_between(counts.scatter[:, 0, number].sum(axis=0), z_edges, form),
        of_events=plan.event is not None,
        **_groups(found.all_pairs, one),
    )


def _groups(pairs: PairComparison, one: ParameterComparison) -> dict[str, Any]:
    groups = [group for group in pairs.by_sharpness if group.tokens]
    if len(groups) < 2:
        quarters = np.arange(1, len(one.coverage_by_error) + 1)
        coverages = np.array(one.coverage_by_error), np.array(one.coverage_between_runs_by_error)
        return dict(zip(_GROUP_FIELDS, (quarters, False, np.empty(0), *coverages), strict=True))
    ends = np.array([group.least for group in groups] + [groups[-1].most])
    inner = ends[1:-1]
    step = (inner[-1] / inner[0]) ** (1 / max(len(inner) - 1, 1)) if len(inner) > 1 else 2.0
    ends[0], ends[-1] = inner[0] / step, inner[-1] * step
    columns = ("rank_correlation", "coverage", "coverage_between_runs")
    values = (np.array([getattr(group, column) for group in groups]) for column in columns)
    return dict(zip(_GROUP_FIELDS, (np.sqrt(ends[:-1] * ends[1:]), True, *values), strict=True))


_GROUP_FIELDS = ("groups", "by_sharpness", "group_correlation", "group_coverage", "group_coverage_between_runs")


def _density(counts: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Density of counts in the bins of `Z_BINS` by sign, in other bins."""
    before = np.concatenate([[0], np.cumsum(counts)])
    return np.diff(np.interp(edges, signed_edges(Z_BINS), before)) / (max(before[-1], 1) * np.diff(edges))


def _density_between(table: np.ndarray, edges: np.ndarray, form: AddedVariance) -> np.ndarray:
    scatter = RunScatter.of(table)
    if not np.isfinite(form.factor) or not scatter.tokens:
        return np.full(len(edges) - 1, np.nan)
    half = edges[edges >= 0]
    below = [scatter.within(form.factor, form.additive, float(width), form.by_time).sum() for width in half]
    one_side = np.diff(below) / (2 * scatter.tokens * np.diff(half))
    return np.concatenate([one_side[::-1], one_side])


def _labels(names: Sequence[str]) -> tuple[str, str]:
    if len(names) > 2:
        return "one run", "another run"
    short = [os.path.splitext(os.path.basename(name.rstrip("/")))[0] for name in names]
    if len(set(short)) < 2 or max(map(len, short)) > 24:
        return "the first run", "the second run"
    return short[0], short[1]


def draw_run_comparison(data: RunComparisonData) -> "Figure":
    """Draw one panel for values in two runs, one for their differences, and two by sharpness."""
    figure = style.new_figure(11.2, 3.9)
    grid = figure.add_gridspec(
        1, 3, width_ratios=(1.12, 1, 1), left=0.068, right=0.985, top=0.885, bottom=0.145, wspace=0.3
    )
    _draw_values(figure.add_subplot(grid[0]), data)
    _draw_z(figure.add_subplot(grid[1]), data)
    if data.by_sharpness:
        rows = grid[2].subgridspec(2, 1, hspace=0.16, height_ratios=(1, 1.15))
        upper = figure.add_subplot(rows[0])
        lower = figure.add_subplot(rows[1], sharex=upper)
        _draw_correlation(upper, data)
        _draw_coverage(lower, data)
        upper.tick_params(labelbottom=False)
        _title(upper, "By sharpness")
    else:
        axes = figure.add_subplot(grid[2])
        _draw_coverage(axes, data)
        _title(axes, "By standard error")
    return figure


def _title(axes: "Axes", text: str) -> None:
    axes.set_title(text, size=10.5, loc="left", color=style.INK, pad=7)


def _draw_values(axes: "Axes", data: RunComparisonData) -> None:
    from matplotlib.colors import LogNorm

    style.plain_axes(axes, 9)
    shown = np.ma.masked_equal(data.tokens.T, 0)
    norm = LogNorm(1, max(2, int(data.tokens.max())))
    axes.pcolormesh(data.edges, data.edges, shown, norm=norm, cmap="viridis_r", rasterized=True)
    first, last = data.edges[[0, -1]]
    axes.plot([first, last], [first, last], color=style.GREY, lw=0.8, ls=(0, (4, 3)))
    words = data.parameter.replace("_", " ")
    if data.of_events:
        style.axis_of_fit(axes, data.scale, first, last)
        style.same_vertical_axis(axes)
    unit = style.axis_label(data.axis_name) if data.of_events else "share of the tokens below"
    axes.set_xlabel(f"in {data.labels[0]} ({unit})", size=9.5)
    axes.set_ylabel(f"in {data.labels[1]}", size=9.5, labelpad=1)
    _title(axes, f"{words.capitalize()} in two runs")
    style.write(axes, 0.97, 0.05, f"rank correlation {data.rank_correlation:.3f}", size=9, ha="right")


def _draw_z(axes: "Axes", data: RunComparisonData) -> None:
    style.plain_axes(axes, 9)
    middle = (data.z_edges[1:] + data.z_edges[:-1]) / 2
    normal = np.exp(-(middle**2) / 2) / np.sqrt(2 * np.pi)
    axes.fill_between(middle, normal, color=style.PALE, lw=0, label="normal")
    axes.stairs(data.z, data.z_edges, baseline=None, color=style.BLUE, lw=1.4, label="standard errors")
    if np.all(np.isfinite(data.z_between_runs)):
        axes.stairs(
            data.z_between_runs, data.z_edges, baseline=None, color=style.VERMILION, lw=1.4, label="with component"
        )
    axes.set_yscale("log")
    axes.set_ylim(3e-4, 8)
    axes.set_xlim(data.z_edges[0], data.z_edges[-1])
    axes.set_xlabel("difference in units of its error", size=9.5)
    axes.set_ylabel("density", size=9.5, labelpad=1)
    axes.legend(frameon=False, fontsize=8.5, loc="upper right", handlelength=1.4, borderaxespad=0.1)
    _title(axes, "Differences between runs")


def _draw_correlation(axes: "Axes", data: RunComparisonData) -> None:
    style.plain_axes(axes, 9)
    axes.plot(data.groups, data.group_correlation, "o-", color=style.INK, ms=3.5, lw=1.2)
    axes.set_xscale("log")
    axes.set_ylim(min(0.0, float(np.nanmin(data.group_correlation))), 1)
    axes.set_ylabel("rank correlation", size=9)


def _draw_coverage(axes: "Axes", data: RunComparisonData) -> None:
    from matplotlib.ticker import LogLocator

    style.plain_axes(axes, 9)
    axes.axhline(90, color=style.GREY, lw=0.8, ls=(0, (4, 3)))
    axes.plot(data.groups, 100 * data.group_coverage, "o-", color=style.BLUE, ms=3.5, lw=1.2)
    axes.plot(data.groups, 100 * data.group_coverage_between_runs, "o-", color=style.VERMILION, ms=3.5, lw=1.2)
    lowest = np.nanmin([*data.group_coverage, *data.group_coverage_between_runs, 0.5])
    axes.set_ylim(100 * min(lowest, 0.5) - 3, 103)
    axes.set_ylabel("% within 90% interval", size=9)
    if data.by_sharpness:
        style.axis_of_fit(axes, "log", data.groups[0], data.groups[-1], margin=0.06, minor=False)
        axes.xaxis.set_major_locator(LogLocator(10, subs=(1, 2, 5), numticks=12))
        axes.set_xlabel("sharpness of the fit", size=9.5)
    else:
        axes.set_xticks(data.groups)
        axes.set_xlabel("quarter of the tokens by standard error", size=9.5)
