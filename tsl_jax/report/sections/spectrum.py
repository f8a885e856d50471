"""The learning-time spectrum, its pulse, and what they explain of the mean loss."""

import numpy as np

from ...plots.spectrum.bands import Banded
from ...plots.spectrum.lags import lag_label, lag_values, per_u, reach_of
from ...plots.spectrum.parts import SpectrumParts, spectrum_parts_data
from ...plots.style import BLUE, ORANGE, VERMILION, axis_label
from ..content import ReportFigure, ReportSection
from ..figures import add_band, add_line, add_points, new_figure, stairs, window
from ..findings import Findings, Unavailable
from ..words import percent
from .spectrum_checks import broadening_warning, check_tables

_ANCHOR, _TITLE = "spectrum", "Learning-time spectrum"
_PARTS = {1: (("all events", BLUE),), 2: (("loss falls", BLUE), ("loss rises", ORANGE))}
_MOST_POINTS = 512


def spectrum_section(found: Findings) -> ReportSection:
    """Spectrum p, pulse g, the derivative of the mean loss, and the checks that `tsl spectrum` prints."""
    analysis = found.spectrum
    if isinstance(analysis, Unavailable):
        return ReportSection(_ANCHOR, _TITLE, missing=analysis.reason)
    if not analysis.events:
        return ReportSection(_ANCHOR, _TITLE, missing=" ".join(analysis.reasons))
    data = spectrum_parts_data(analysis)
    warnings = [*analysis.reasons, *broadening_warning(analysis)]
    words = [
        "Each event adds its pulse to the fall of the mean loss: -dL/du is the spectrum p of learning times, convolved "
        "with the pulse g that events share.",
        f"{percent(data.outside)} of the tokens have their event outside the window.",
    ]
    figures = [_density(data), _pulse(data), _derivatives(data), _mean_loss(data)]
    return ReportSection(_ANCHOR, _TITLE, words, figures=figures, tables=check_tables(analysis), warnings=warnings)


def _density(data: SpectrumParts) -> ReportFigure:
    grid, axis = data.analysis.read.spectrum.grid, data.analysis.read.axis_name
    unit = f"density per unit of {per_u(grid, axis)}"
    figure = new_figure(f"learning time ({axis_label(axis)})", unit, scale=grid.scale)
    for part, (name, colour) in enumerate(_PARTS[len(data.density.value)]):
        curve = data.density[part]
        edges, low = stairs(data.edges, curve.low)
        add_band(figure, edges, low, stairs(data.edges, curve.high)[1], "band", colour, showlegend=False)
        add_line(figure, *stairs(data.edges, curve.value), name, colour, showlegend=len(data.density.value) > 1)
    if len(data.tail_curve[0]):
        name = f"tail ∝ {axis}^-γ, γ = {data.tail[0]:.2f}"
        add_line(figure, *data.tail_curve, name, VERMILION, line={"width": 2.5, "dash": "dash"})
    window(figure, grid.first, grid.last, grid.scale)
    return ReportFigure("Spectrum p: when events happen", figure)


def _pulse(data: SpectrumParts) -> ReportFigure:
    grid, axis = data.analysis.read.spectrum.grid, data.analysis.read.axis_name
    unit = "nat" if data.analysis.options.weighting == "count" else "share of the drop"
    figure = new_figure(lag_label(grid, axis), f"{unit} per unit of {per_u(grid, axis)}", scale=grid.scale)
    reach = reach_of(data.lags, data.pulse.value, 0.95)
    near = np.flatnonzero(np.abs(data.lags) <= 3 * reach)
    x = lag_values(grid, data.lags[near])
    for part, (name, colour) in enumerate(_PARTS[len(data.pulse.value)]):
        curve = data.pulse[part][near]
        _banded_line(figure, x, curve, name, colour, showlegend=len(data.pulse.value) > 1)
    ends = lag_values(grid, np.array([-reach, reach]))
    window(figure, ends[0], ends[1], grid.scale)
    figure.update_xaxes(tickformat="~g")
    return ReportFigure("Shared pulse g: the fall around an event", figure)


def _derivatives(data: SpectrumParts) -> ReportFigure:
    grid, axis = data.analysis.read.spectrum.grid, data.analysis.read.axis_name
    figure = new_figure(axis_label(axis), f"−dL/du (nat per unit of {per_u(grid, axis)})", scale=grid.scale)
    looks = {
        "observed": ("mean loss", None, "solid"),
        "implied": ("sum of the tokens' own pulses", BLUE, "solid"),
        "p * g": ("p * g", VERMILION, "dash"),
    }
    for key, curve in data.derivatives.items():
        name, colour, dash = looks[key]
        name += f", R² = {data.r2[key]:.4f}" if key in data.r2 else ""
        _banded_line(figure, data.axis, curve, name, colour, line={"dash": dash, "width": 2})
    window(figure, grid.first, grid.last, grid.scale)
    caption = "" if data.smoothed is None else f"All smoothed over ±{data.smoothed:.2g} in {per_u(grid, axis)}."
    return ReportFigure("Derivative of the mean loss", figure, caption)


def _mean_loss(data: SpectrumParts) -> ReportFigure:
    grid, axis = data.analysis.read.spectrum.grid, data.analysis.read.axis_name
    figure = new_figure(axis_label(axis), "mean loss (nat per token)", scale=grid.scale)
    if data.mean_loss is not None:
        add_points(figure, data.loss_axis, data.mean_loss.value, "measured")
    _banded_line(figure, data.implied_axis, data.implied_loss, "of the spectrum", VERMILION)
    window(figure, grid.first, grid.last, grid.scale)
    return ReportFigure("Mean loss of the spectrum", figure)


def _banded_line(figure, x: np.ndarray, curve: Banded, name: str, colour: str | None, **more) -> None:
    """A line with its band, of no more points than a screen shows."""
    kept = np.unique(np.linspace(0, len(x) - 1, min(len(x), _MOST_POINTS)).astype(int))
    add_band(figure, x[kept], curve.low[kept], curve.high[kept], "band", colour or "#888888", showlegend=False)
    add_line(figure, x[kept], curve.value[kept], name, colour, **more)
