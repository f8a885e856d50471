"""Mean loss and mean of the fits."""

import dataclasses

import numpy as np

from ...plots.style import VERMILION, axis_label
from ...store import FitStore
from ..content import ReportFigure, ReportSection
from ..figures import add_line, add_points, new_figure, window
from ..findings import NO_LOSSES, Findings, Unavailable
from ..words import count, fixed

_ANCHOR, _TITLE = "mean-loss", "Mean loss"


@dataclasses.dataclass(frozen=True)
class MeanLossCurves:
    """What is drawn: axis values (checkpoints,), both means in nat, R² of the fits where `tsl spectrum` says one."""

    axis: np.ndarray
    loss: np.ndarray
    fit: np.ndarray
    r2: float


def mean_loss_curves(found: Findings) -> MeanLossCurves | None:
    """Out of the spectrum's pass where there is one; None without losses."""
    if not isinstance(found.spectrum, Unavailable):
        curves = found.spectrum.curves.value
        if curves.comparison is not None:
            axis = found.spectrum.read.axis[found.spectrum.checkpoints]
            r2 = float(curves.comparison.scores["mean fit of mean loss"].r2)
            return MeanLossCurves(axis, np.asarray(curves.mean_loss), np.asarray(curves.mean_fit), r2)
    if isinstance(found.means, Unavailable):
        return None
    used = np.setdiff1d(np.arange(len(found.means.axis)), found.fits.left_out_checkpoints)
    means = found.means
    return MeanLossCurves(means.axis[used], means.mean_loss[used], means.mean_fit[used], float("nan"))


def mean_loss_section(found: Findings) -> ReportSection:
    """Both means over training, and their difference."""
    data = mean_loss_curves(found)
    if data is None:
        reason = found.means.reason if isinstance(found.means, Unavailable) else NO_LOSSES
        return ReportSection(_ANCHOR, _TITLE, missing=reason)
    worst = int(np.nanargmax(np.abs(data.fit - data.loss))) if np.isfinite(data.fit - data.loss).any() else 0
    words = [
        f"The mean of the fits follows the mean loss of {count(found.fits.num_tokens)} tokens"
        + ("" if np.isnan(data.r2) else f" with R² = {data.r2:.5f}")
        + f"; the largest difference is {fixed(data.fit[worst] - data.loss[worst])} nat, at {found.fits.axis_name} "
        f"{data.axis[worst]:,g}."
    ]
    return ReportSection(_ANCHOR, _TITLE, words, figures=_figures(found.fits, data))


def _figures(fits: FitStore, data: MeanLossCurves) -> list[ReportFigure]:
    label = axis_label(fits.axis_name)
    means = new_figure(label, "mean loss (nat per token)", scale=fits.scale)
    add_points(means, data.axis, data.loss, "measured")
    add_line(means, data.axis, data.fit, "mean of the fits", VERMILION, line={"width": 2})
    apart = new_figure(label, "fits − losses (nat)", scale=fits.scale)
    add_line(apart, data.axis, data.fit - data.loss, "difference", VERMILION, showlegend=False)
    for figure in (means, apart):
        window(figure, data.axis[0], data.axis[-1], fits.scale)
    return [ReportFigure("Mean loss", means), ReportFigure("What the fits miss", apart)]
