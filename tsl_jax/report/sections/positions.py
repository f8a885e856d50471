"""The position law: the loss over positions in the context, and how it evolves."""

import numpy as np

from ...jobs.position_analysis import PositionAnalysis
from ...plots.position_law import PositionPanels, position_law_data
from ...plots.style import BLUE, GREEN, ORANGE, axis_label
from ..content import ReportFigure, ReportSection, ReportTable
from ..figures import COLOURS, add_line, add_points, new_figure, window
from ..findings import Findings, Unavailable
from ..words import significant

_ANCHOR, _TITLE = "positions", "Loss over positions"
_UNITS = {"amplitude": "nat", "rate": "1/position", "floor": "nat"}
_ROWS = 8


def positions_section(found: Findings) -> ReportSection:
    """Hyperbolas, the evolution of their parameters, separation point and evenness: what `tsl positions` prints."""
    analysis = found.positions
    if isinstance(analysis, Unavailable):
        return ReportSection(_ANCHOR, _TITLE, missing=analysis.reason)
    data = position_law_data(analysis.means, analysis.law, analysis.courses, analysis.separation)
    figures = [_curves(data), *(_course(data, name) for name in _UNITS), _r2(data)]
    tables = [_checkpoints(analysis), _falls(analysis)]
    return ReportSection(_ANCHOR, _TITLE, _words(analysis), figures=figures, tables=tables)


def _words(analysis: PositionAnalysis) -> list[str]:
    point, even, axis = analysis.separation, analysis.evenness, analysis.means.axis_name
    settled = "Amplitude and rate still change at the end: the separation point is not reached."
    if bool(point.reached):
        settled = (
            f"Amplitude and rate are constant from {axis} {float(point.point):,.0f} on (90%: {float(point.lower):,.0f} "
            f"to {float(point.upper):,.0f})."
        )
    verdict = "unevenly" if float(even.p_value) < 0.05 else "as far as can be seen evenly"
    return [
        "At every checkpoint the mean loss at position i of the context is amplitude/(1 + rate·i) + floor.",
        f"{settled} From {axis} {analysis.since:,.0f} on the loss falls {verdict} over positions (p = "
        f"{float(even.p_value):.2g}).",
    ]


def _curves(data: PositionPanels) -> ReportFigure:
    figure = new_figure(axis_label("position"), "mean loss (nat per token)", scale="log")
    for k, at in enumerate(data.shown):
        colour = COLOURS[k % len(COLOURS)]
        errors = {"type": "data", "array": data.stderr[k].astype(np.float32), "thickness": 1, "width": 0}
        points = {"error_y": errors, "showlegend": False}
        add_points(figure, data.place, data.mean[k], f"{data.axis_name} {significant(float(at))}", colour, **points)
        add_line(figure, data.position, data.curve[k], f"{data.axis_name} {significant(float(at))}", colour)
    window(figure, data.position[0], data.position[-1], "log")
    return ReportFigure("Hyperbolas over means in bins of positions", figure)


def _course(data: PositionPanels, name: str) -> ReportFigure:
    known = data.params[name][np.isfinite(data.params[name])]
    y_scale = "log" if name == "rate" and len(known) and known.min() > 0 else "linear"
    figure = new_figure(axis_label(data.axis_name), f"{name} ({_UNITS[name]})", scale="log", y_scale=y_scale)
    add_points(figure, data.axis, data.params[name], "at each checkpoint")
    add_line(figure, data.axis, data.course[name], data.form[name], BLUE, line={"width": 2})
    figure.update_yaxes(tickformat="~g")
    window(figure, max(data.axis[0], data.axis[-1] / 64), data.axis[-1], "log")
    return ReportFigure(f"{name.capitalize()} over training", figure)


def _r2(data: PositionPanels) -> ReportFigure:
    figure = new_figure(axis_label(data.axis_name), "R²", scale="log")
    add_line(figure, data.axis, data.binned, "in bins of positions", GREEN)
    add_line(figure, data.axis, data.r2, "single positions", BLUE)
    add_line(figure, data.axis, data.ceiling, "what noise leaves of it", ORANGE, line={"dash": "dash"})
    figure.update_yaxes(range=[0, 1.05])
    window(figure, max(data.axis[0], data.axis[-1] / 64), data.axis[-1], "log")
    return ReportFigure("How well the hyperbola fits", figure)


def _checkpoints(analysis: PositionAnalysis) -> ReportTable:
    means, law = analysis.means, analysis.law
    there = np.flatnonzero(means.axis > 0)
    targets = np.geomspace(max(means.axis[there[0]], means.axis[-1] / 32), means.axis[-1], _ROWS)
    rows = []
    for row in np.unique([there[np.abs(np.log(means.axis[there] / at)).argmin()] for at in targets]):
        values = [law.params[name][row] for name in _UNITS] + [law.r2[row], law.r2_ceiling[row], law.r2_binned[row]]
        rows.append((f"{means.axis[row]:,g}", *(significant(float(value)) for value in values)))
    columns = (means.axis_name, *_UNITS, "R²", "R² noise allows", "R² in bins")
    return ReportTable("The law at some checkpoints", columns, rows)


def _falls(analysis: PositionAnalysis) -> ReportTable:
    even = analysis.evenness
    rows = [
        (f"{first:g} to {last:g}", f"{ratio:.2f} ± {error:.2f}")
        for first, last, ratio, error in zip(
            *(np.asarray(getattr(even, name)) for name in ("first", "last", "ratio", "ratio_stderr")), strict=True
        )
    ]
    return ReportTable("Fall of the loss over its mean fall", ("positions", "ratio"), rows)
