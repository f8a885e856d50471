"""Loss over positions: what was seen last, the forecast with bands, and what came."""

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from . import style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ..temporal import PositionForecast


@dataclasses.dataclass(frozen=True)
class PositionForecastCurves:
    """What is drawn: means in log-spaced bins of positions.

    Attributes:
        place: (bins,) mean positions, from 1.
        loss: (bins,) forecast at the last step, nat; likewise the following.
        lower: (2, bins) lower ends of the 50 and 90% bands, means over those of single positions.
        upper: (2, bins) upper ends.
        two_stage: (bins,) the two-stage procedure alone.
        seen: (bins,) losses at the last seen checkpoint.
        hidden: (bins,) losses at the last step, empty if it was not measured.
        seen_step: last seen step.
        step: step of the forecast.
    """

    place: np.ndarray
    loss: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    two_stage: np.ndarray
    seen: np.ndarray
    hidden: np.ndarray
    seen_step: float
    step: float


def position_forecast_data(
    found: "PositionForecast", seen_step: float, seen: np.ndarray, hidden: np.ndarray | None = None, *, bins: int = 16
) -> PositionForecastCurves:
    """Put together what is drawn at the last step of a forecast.

    Args:
        found: the forecast.
        seen_step: the last seen step.
        seen: (positions,) measured losses there.
        hidden: (positions,) measured losses at the last step of the forecast, if there are any.
        bins: log-spaced bins in which losses are pooled, so that single positions' noise does not hide the rest.
    """
    from ..temporal import log_bins

    bin_of = np.asarray(log_bins(found.position, bins))

    def pooled(values: np.ndarray) -> np.ndarray:
        known = np.isfinite(values)
        with np.errstate(invalid="ignore"):
            return np.bincount(bin_of, np.where(known, values, 0)) / np.bincount(bin_of, known)

    return PositionForecastCurves(
        place=pooled(np.asarray(found.position)),
        loss=pooled(found.loss[-1]),
        lower=np.stack([pooled(side) for side in found.lower[:, -1]]),
        upper=np.stack([pooled(side) for side in found.upper[:, -1]]),
        two_stage=pooled(found.two_stage[-1]),
        seen=pooled(np.asarray(seen)),
        hidden=np.zeros(0) if hidden is None else pooled(np.asarray(hidden)),
        seen_step=float(seen_step),
        step=float(found.total.step[-1]),
    )


def draw_position_forecast(data: PositionForecastCurves) -> "Figure":
    """Draw the forecast over positions with its bands between what was seen and what came."""
    figure = style.new_figure(7.4, 4.4)
    axes = figure.add_axes((0.09, 0.12, 0.89, 0.8))
    style.plain_axes(axes, 9)
    for k, (alpha, level) in reversed(list(enumerate(((0.35, 50), (0.16, 90))))):
        axes.fill_between(
            data.place, data.lower[k], data.upper[k], color=style.BLUE, alpha=alpha, lw=0, label=f"{level}% band"
        )
    axes.plot(data.place, data.loss, color=style.BLUE, lw=1.4, label=f"forecast at step {data.step:,.0f}")
    axes.plot(data.place, data.two_stage, color=style.GREY, lw=1.2, ls="--", label="two-stage procedure alone")
    label = f"seen, step {data.seen_step:,.0f}"
    axes.plot(data.place, data.seen, "o", ms=4.5, mfc="white", mec=style.INK, label=label)
    if data.hidden.size:
        label = f"hidden, step {data.step:,.0f}"
        axes.plot(data.place, data.hidden, "o", ms=4.5, color=style.VERMILION, label=label)
    style.axis_of_fit(axes, "log", data.place[0], data.place[-1])
    inside = np.concatenate([data.lower[1], data.upper[1], data.seen, data.hidden])
    low, high = np.nanmin(inside), np.nanmax(inside)
    axes.set_ylim(low - 0.05 * (high - low), high + 0.05 * (high - low))
    axes.set_xlabel(style.axis_label("position"), size=10)
    axes.set_ylabel("mean loss (nat per token)", size=10)
    axes.legend(frameon=False, fontsize=9, loc="upper right")
    title = f"Loss over positions at step {data.step:,.0f}, forecast from step {data.seen_step:,.0f}"
    axes.set_title(title, size=10.5, loc="left", color=style.INK, pad=7)
    return figure
