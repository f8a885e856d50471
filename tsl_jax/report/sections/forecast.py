"""A forecast of the second half of the run from the first, beside what came."""

import numpy as np

from ...plots.forecast import ForecastCurves, forecast_data
from ...plots.style import BLUE, VERMILION, axis_label
from ..content import ReportFigure, ReportSection, ReportTable
from ..figures import add_band, add_line, add_points, new_figure, window
from ..findings import SEEN, Findings, HeldOutForecast, Unavailable
from ..words import percent

_ANCHOR, _TITLE = "forecast", "Forecast"


def forecast_section(found: Findings) -> ReportSection:
    """What `tsl forecast LOSSES --until LAST --fraction 0.5` prints and draws."""
    held = found.forecast
    if isinstance(held, Unavailable):
        return ReportSection(_ANCHOR, _TITLE, missing=held.reason)
    data = forecast_data(held.seen.step, held.seen.loss, held.found, (held.hidden_step, held.hidden_loss), held.rates)
    laws = [
        (name, percent(float(weight), 0), f"{float(error):.2g}")
        for name, weight, error in zip(held.found.laws, held.found.weight, held.found.rolling_error, strict=True)
    ]
    table = ReportTable("Laws that are averaged", ("law", "weight", "error within the seen part (nat)"), laws)
    warnings = [f"The forecast lies outside the data: {warning}." for warning in held.found.warnings]
    return ReportSection(
        _ANCHOR, _TITLE, _words(held, data), figures=[_figure(data)], tables=[table], warnings=warnings
    )


def _words(held: HeldOutForecast, data: ForecastCurves) -> list[str]:
    rows = np.searchsorted(held.found.step, held.hidden_step)
    lower, upper = np.asarray(held.found.lower)[:, rows], np.asarray(held.found.upper)[:, rows]
    inside = np.mean((held.hidden_loss >= lower) & (held.hidden_loss <= upper), axis=1)
    end = {name: getattr(held.found, name)[..., -1] for name in ("mean", "lower", "upper")}
    known = "its learning rates" if held.rates is not None else "no learning rates"
    return [
        f"The forecast saw the first {SEEN:.0%} of training ({len(held.seen.step)} checkpoints up to step "
        f"{held.seen.step[-1]:,.0f}) and {known}. The other {len(held.hidden_step)} checkpoints judge it.",
        f"At step {held.found.step[-1]:,.0f} it expects {end['mean']:.4f} nat (90%: {end['lower'][1]:.4f} to "
        f"{end['upper'][1]:.4f}); measured: {held.hidden_loss[-1]:.4f}. Mean squared error {data.mse:.2g} nat²; inside "
        f"the 50% band {percent(float(inside[0]), 0)} of the losses, the 90% band {percent(float(inside[1]), 0)}. "
        "For steps to come: tsl forecast LOSSES --until STEP.",
    ]


def _figure(data: ForecastCurves) -> ReportFigure:
    figure = new_figure(axis_label("step"), "mean loss (nat per token)", height=400)
    for k, level, opacity in ((1, 90, 0.16), (0, 50, 0.3)):
        add_band(figure, data.step, data.lower[k], data.upper[k], f"{level}% band", BLUE, opacity=opacity)
    add_line(figure, data.step, data.mean, "forecast", BLUE, line={"width": 2})
    add_points(figure, data.seen_step, data.seen_loss, "seen")
    add_points(figure, data.hidden_step, data.hidden_loss, "not seen", VERMILION, marker=_DOT)
    late = np.concatenate([data.lower[1], data.upper[1], data.hidden_loss, data.seen_loss[len(data.seen_loss) // 5 :]])
    room = 0.06 * (late.max() - late.min())
    figure.update_yaxes(range=[late.min() - room, late.max() + room])
    window(figure, 0.0, data.step[-1], "linear")
    return ReportFigure("The second half of training from the first", figure, wide=True)


_DOT = {"symbol": "circle", "size": 5, "color": VERMILION}
