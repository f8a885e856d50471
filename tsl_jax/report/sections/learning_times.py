"""When tokens are learned, by domain and by every other coordinate of the tokens."""

from typing import Any

import numpy as np

from ...jobs import Analysis
from ...jobs.learning_times import LearningTimes
from ...plots.style import BLUE, ORANGE, VERMILION, axis_label
from ..content import ReportFigure, ReportSection, ReportTable
from ..figures import COLOURS, add_line, add_points, few_ticks, new_figure, plotly_text, stairs, window
from ..findings import Findings, Unavailable
from ..words import count, interval, number, percent, significant

_ANCHOR, _TITLE = "learning-times", "Learning times"
_STRIP = 84


def learning_times_section(found: Findings) -> ReportSection:
    """Distributions by domain, and medians by group with their bands."""
    times = found.times
    if isinstance(times, Unavailable):
        return ReportSection(_ANCHOR, _TITLE, missing=times.reason)
    figures = [_strips(times)]
    tables, words = [], [_words(times)]
    if isinstance(found.spectrum, Analysis):
        grouped = [name for name in found.spectrum.groups if found.spectrum.events]
        tables = [_table(found.spectrum, name) for name in grouped]
        figures += [_densities(found.spectrum, name) for name in grouped if name != "domain"]
        words += ["Bands: " + _band_words(found.spectrum)] if grouped else []
    else:
        tables = [_medians(times)]
    return ReportSection(_ANCHOR, _TITLE, words, figures=figures, tables=tables)


def _words(times: LearningTimes) -> str:
    everyone = times.groups[0]
    falling, rising = (int(np.sum(times)) for times in (everyone.falling, everyone.rising))
    median = "" if np.isnan(everyone.median) else f", half of them by {number(everyone.median)}"
    return (
        f"{count(falling)} of {count(everyone.tokens)} tokens are learned within the window "
        f"({times.axis_name} {times.edges[0]:,g} to {times.edges[-1]:,g}){median}; {count(rising)} are forgotten. "
        f"{count(everyone.categories['EARLY'])} were learned before it, {count(everyone.categories['LATE'])} will be "
        f"after it, {count(everyone.categories['UNLEARNED'])} show no event."
    )


def _band_words(analysis: Analysis) -> str:
    return f"{analysis.options.level:.0%}, bootstrap over {analysis.resamples} groups of sequences."


def _strips(times: LearningTimes) -> ReportFigure:
    """One strip a domain under each other, all on the same axis."""
    strips = len(times.groups)
    figure = new_figure(f"learning time ({axis_label(times.axis_name)})", "", scale=times.scale)
    highest = 1.08 * max(
        float(np.max(times.fraction(one.falling + one.rising, one), initial=1e-9)) for one in times.groups
    )
    layout: dict[str, Any] = {"height": 90 + _STRIP * strips, "margin": {"l": 44, "r": 12, "t": 34, "b": 48}}
    notes = []
    for row, group in enumerate(times.groups):
        axis = "y" if row == 0 else f"y{row + 1}"
        top = 1 - row / strips
        layout[axis.replace("y", "yaxis")] = {
            "domain": [top - 0.97 / strips, top - 0.3 / strips],
            "tickformat": ".0%",
            "nticks": 3,
            "range": [0, highest],
            "title": {"text": ""},
        }
        _add_strip(figure, times, group, axis, first=row == 0)
        text = f"<b>{plotly_text(group.name)}</b>  {count(group.tokens)} tokens, median {number(group.median)}"
        notes.append(
            {"text": text, "xref": "paper", "yref": "paper", "x": 0, "y": top - 0.02 / strips, "showarrow": False}
            | {"xanchor": "left", "yanchor": "top", "font": {"size": 12}}
        )
    figure.update_layout(layout)
    figure.update_layout(annotations=notes)
    figure.update_xaxes(anchor=f"y{strips}" if strips > 1 else "y")
    window(figure, times.edges[0], times.edges[-1], times.scale)
    return ReportFigure("Share of the tokens per bin of learning time", figure, wide=True)


def _add_strip(figure: Any, times: LearningTimes, group: Any, axis: str, first: bool) -> None:
    falling, rising = times.fraction(group.falling, group), times.fraction(group.rising, group)
    x, y = stairs(times.edges, falling)
    legend = {"yaxis": axis, "xaxis": "x", "showlegend": first}
    add_line(figure, x, y, "loss falls", BLUE, fill="tozeroy", line={"width": 1}, legendgroup="falls", **legend)
    x, y = stairs(times.edges, rising)
    add_line(figure, x, y, "loss rises", ORANGE, fill="tozeroy", line={"width": 1}, legendgroup="rises", **legend)
    if np.isfinite(group.median):
        highest = float(np.max(falling, initial=0))
        ends, line = [group.median] * 2, {"width": 2}
        add_line(figure, ends, [0, highest], "median, falling", VERMILION, line=line, legendgroup="median", **legend)


def _densities(analysis: Analysis, name: str) -> ReportFigure:
    """Medians of the groups of a coordinate, with their bands."""
    group, axis = analysis.groups[name], analysis.read.axis_name
    scale = analysis.read.spectrum.grid.scale
    labels = [plotly_text(label) for label in group.grouping.labels]
    figure = new_figure(axis_label(axis), "", scale=scale, height=110 + 30 * len(labels))
    median, low, high = (
        np.asarray(end.median, np.float64)[: len(labels)]
        for end in (group.times.value, group.times.low, group.times.high)
    )
    spread = {"type": "data", "symmetric": False, "array": high - median, "arrayminus": median - low}
    spread = spread if np.isfinite(low).any() else {"visible": False}
    add_points(
        figure, median, np.arange(len(labels)), "median", COLOURS[0], error_x=spread, showlegend=False, marker=_DOT
    )
    figure.update_yaxes(tickvals=list(range(len(labels))), ticktext=labels, autorange="reversed", automargin=True)
    few_ticks(figure, scale, float(np.nanmax(median, initial=1) / np.nanmin(median, initial=np.inf)))
    return ReportFigure(f"Median learning time by {name.replace('_', ' ')}", figure)


_DOT = {"symbol": "circle", "size": 8, "color": COLOURS[0]}


def _table(analysis: Analysis, name: str) -> ReportTable:
    """Numbers of `tsl spectrum --by`."""
    group = analysis.groups[name]
    rows = []
    for index, label in enumerate([*group.grouping.labels, "no group"]):
        tokens = sum(group.tokens[index].values())
        if label == "no group" and index == len(group.grouping.labels) and not tokens:
            continue
        ends = group.times.value, group.times.low, group.times.high
        cells = []
        for field in ("median", "mean"):
            value, low, high = (getattr(end, field)[index] for end in ends)
            cells.append(interval(value, low, high, significant))
        rows.append((label, count(tokens), percent(float(group.times.value.learned[index])), *cells))
    columns = (name.replace("_", " "), "tokens", "learned", "median", "mean")
    return ReportTable(f"Learning time ({analysis.read.axis_name}) by {name.replace('_', ' ')}", columns, rows)


def _medians(times: LearningTimes) -> ReportTable:
    rows = [
        (one.name, *(count(int(np.sum(each))) for each in (one.tokens, one.falling, one.rising)), number(one.median))
        for one in times.groups
    ]
    columns = ("", "tokens", "learned", "forgotten", "median, learned")
    return ReportTable(f"Learning time ({times.axis_name})", columns, rows)
