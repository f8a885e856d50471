"""What of a token repeats in another run."""

import math

import numpy as np

from ...plots.run_comparison import RunComparisonData, run_comparison_data
from ...plots.style import BLUE, GREEN, VERMILION, axis_label
from ...runs import RunComparison
from ..content import ReportFigure, ReportSection, ReportTable
from ..figures import add_line, add_points, new_figure, plotly_objects, plotly_text, stairs
from ..findings import Findings, Unavailable
from ..words import count, percent, significant

_ANCHOR, _TITLE = "comparison", "Compared with another run"
_NONE = "No other run was given: --compare OTHER (compare=) takes the fits of the same tokens in another one."


def comparison_section(found: Findings) -> ReportSection:
    """What `tsl compare FITS OTHER` prints."""
    runs = found.comparison
    if runs is None or isinstance(runs, Unavailable):
        return ReportSection(_ANCHOR, _TITLE, missing=_NONE if runs is None else runs.reason)
    data = run_comparison_data(runs)
    words = [
        f"{runs.names[0]} and {runs.names[1]}: the same {count(runs.all_pairs.tokens)} tokens. Parameters are compared "
        "where the kind of the token repeats."
    ]
    tables = [_parameters(runs), _kinds(runs)]
    figures = [_values(data), _differences(data), _groups(data)]
    return ReportSection(_ANCHOR, _TITLE, words, figures=figures, tables=tables, warnings=runs.notes)


def _parameters(runs: RunComparison) -> ReportTable:
    rows = []
    for one in runs.all_pairs.parameters:
        if not one.tokens:
            continue
        with_component = one.coverage_between_runs[1]
        rows.append(
            (
                one.parameter,
                one.events,
                count(one.tokens),
                f"{one.rank_correlation:.3f}",
                *(significant(value, 3) for value in (one.median_difference, one.run_std, one.typical_error)),
                "ln" if one.unit == "1" else one.unit,
                percent(one.coverage[1], 0),
                percent(with_component, 0),
            )
        )
    columns = ("parameter", "events", "tokens", "rank correlation", "median difference", "sd between runs")
    columns += ("standard error", "in", "within 90%", "with component")
    return ReportTable("What repeats of each parameter", columns, rows, words=(0, 1, 7))


def _kinds(runs: RunComparison) -> ReportTable:
    rows = [
        (
            one.kind.meaning,
            *map(count, (one.first, one.second, one.both)),
            percent(one.fraction),
            percent(one.by_chance),
        )
        for one in runs.all_pairs.repeats
    ]
    columns = ("token", "first run", "second run", "both", "repeats", "by chance")
    return ReportTable("What repeats of each kind", columns, rows)


def _values(data: RunComparisonData) -> ReportFigure:
    scale = data.scale if data.of_events else "linear"
    what = f"{data.parameter.replace('_', ' ')} ({axis_label(data.axis_name)})" if data.of_events else "rank"
    names = [f"{what}, {label}" for label in data.labels]
    figure = new_figure(names[0], names[1], scale=scale, y_scale=scale)
    middle = np.sqrt(data.edges[:-1] * data.edges[1:]) if scale == "log" else (data.edges[:-1] + data.edges[1:]) / 2
    shown = np.where(data.tokens > 0, np.log10(np.maximum(data.tokens, 1)), np.nan).T
    most = math.ceil(np.nanmax(shown)) if np.isfinite(shown).any() else 1
    figure.add_trace(
        plotly_objects().Heatmap(
            x=middle.astype(np.float32),
            y=middle.astype(np.float32),
            z=shown.astype(np.float32),
            colorscale="Viridis",
            hovertemplate="%{x:,.4~g}, %{y:,.4~g}<extra></extra>",
            colorbar={
                "title": {"text": "tokens"},
                "thickness": 12,
                "tickvals": list(range(most + 1)),
                "ticktext": [f"{10**power:,}" for power in range(most + 1)],
            },
        )
    )
    ends = data.edges[[0, -1]]
    line = {"width": 1, "dash": "dot"}
    add_line(figure, ends, ends, "the same in both", None, line=line, showlegend=False)
    return ReportFigure(
        f"{data.parameter.replace('_', ' ').capitalize()} in both runs: rank correlation {data.rank_correlation:.3f}",
        figure,
    )


def _differences(data: RunComparisonData) -> ReportFigure:
    figure = new_figure("difference / its standard error", "density")
    add_line(figure, *stairs(data.z_edges, data.z), "standard errors of one run", VERMILION)
    if np.isfinite(data.z_between_runs).any():
        add_line(figure, *stairs(data.z_edges, data.z_between_runs), "with the component between runs", BLUE)
    at = np.linspace(data.z_edges[0], data.z_edges[-1], 121)
    normal = np.exp(-(at**2) / 2) / math.sqrt(2 * math.pi)
    add_line(figure, at, normal, "normal distribution", None, line={"dash": "dot"})
    return ReportFigure("Differences in units of their errors", figure)


def _groups(data: RunComparisonData) -> ReportFigure:
    label = "sharpness (1/u)" if data.by_sharpness else "quarter of the tokens by standard error"
    figure = new_figure(label, "share", scale="log" if data.by_sharpness else "linear")
    both = {"mode": "lines+markers"}
    if data.by_sharpness:
        add_points(figure, data.groups, data.group_correlation, "rank correlation", GREEN, **both)
    add_points(figure, data.groups, data.group_coverage, "within 90% intervals", VERMILION, **both)
    add_points(figure, data.groups, data.group_coverage_between_runs, "with the component", BLUE, **both)
    figure.update_yaxes(range=[0, 1.05], tickformat=".0%")
    return ReportFigure(plotly_text("By sharpness" if data.by_sharpness else "By error"), figure)
