"""A forecast of the mean loss with its bands, what was seen and what came."""

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from . import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from ..temporal.forecasts.mean_loss import Forecast


@dataclasses.dataclass(frozen=True)
class ForecastCurves:
    """What is drawn; arrays over rows.

    Attributes:
        seen_step: steps of the seen losses.
        seen_loss: the seen losses, nat.
        step: steps of the forecast, from the last seen one on.
        mean: expected loss, nat.
        lower: (2, rows) lower ends of the 50 and 90% bands, nat.
        upper: (2, rows) upper ends.
        hidden_step: steps of losses that the forecast did not see.
        hidden_loss: those losses, nat.
        rate: learning rate at ``rate_step`` as a fraction of its highest value; empty where unknown.
        rate_step: steps of the learning rates.
        mse: mean squared error against the hidden losses; NaN without any.
        warnings: where the forecast lies outside what the data support.
    """

    seen_step: np.ndarray
    seen_loss: np.ndarray
    step: np.ndarray
    mean: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    hidden_step: np.ndarray
    hidden_loss: np.ndarray
    rate: np.ndarray
    rate_step: np.ndarray
    mse: float
    warnings: tuple[str, ...]


def forecast_data(
    step: np.ndarray, loss: np.ndarray, found: "Forecast", hidden: tuple[Any, Any] = ((), ()), learning_rate: Any = None
) -> ForecastCurves:
    """Put together what is drawn.

    Args:
        step: steps of the seen losses.
        loss: seen losses.
        found: the forecast.
        hidden: steps and losses that it did not see, if there are any; the steps are among the forecast's.
        learning_rate: rate of every update; ``None``: unknown.
    """
    hidden_step, hidden_loss = (np.asarray(values, np.float64) for values in hidden)
    rows = np.searchsorted(found.step, hidden_step)
    error = np.asarray(found.mean)[rows] - hidden_loss
    rates = np.zeros(0) if learning_rate is None else np.asarray(learning_rate, np.float64)
    picked = np.unique(np.linspace(0, len(rates) - 1, min(len(rates), 800)).astype(int)) if rates.size else slice(0, 0)
    # The bands begin at the last seen loss, from which they widen.
    first, last = np.asarray(step)[-1:], np.asarray(loss)[-1:]
    return ForecastCurves(
        seen_step=np.asarray(step),
        seen_loss=np.asarray(loss),
        step=np.concatenate([first, found.step]),
        mean=np.concatenate([last, found.mean]),
        lower=np.concatenate([np.tile(last, (2, 1)), found.lower], axis=1),
        upper=np.concatenate([np.tile(last, (2, 1)), found.upper], axis=1),
        hidden_step=hidden_step,
        hidden_loss=hidden_loss,
        rate=rates[picked] / rates.max() if rates.size else rates,
        rate_step=np.arange(len(rates))[picked] + 1.0 if rates.size else rates,
        mse=float(np.mean(np.square(error))) if error.size else float("nan"),
        warnings=found.warnings,
    )


def draw_forecast(data: ForecastCurves) -> "Figure":
    """Draw losses and bands, and the learning rate below where it is known.

    Where early losses lie so high that the bands would be flat beside them, a panel on the left has all of them.
    """
    scheduled, (low, high) = data.rate.size > 0, _limits(data)
    early = bool(np.any(data.seen_loss > high)) and bool(np.any(data.seen_step > 0))
    figure = style.new_figure(9.6 if early else 7.4, 5.0 if scheduled else 4.2)
    ends = {"left": 0.075 if early else 0.1, "right": 0.98, "top": 0.925, "bottom": 0.11}
    shape = {"height_ratios": (4.2, 1) if scheduled else (1,), "width_ratios": (1, 2.4) if early else (1,)}
    grid = figure.add_gridspec(1 + scheduled, 1 + early, hspace=0.09, wspace=0.14, **shape, **ends)
    axes = figure.add_subplot(grid[0, -1])
    style.plain_axes(axes, 9)
    _draw_bands(axes, data)
    axes.set_ylim(low, high)
    handles, labels = axes.get_legend_handles_labels()
    kept = [k for k, label in enumerate(labels) if label != "hidden losses" or data.hidden_step.size]
    order = [k for name in ("seen", "forecast", "50", "90", "hidden") for k in kept if labels[k].startswith(name)]
    axes.legend([handles[k] for k in order], [labels[k] for k in order], frameon=False, fontsize=9.5, loc="upper right")
    axes.set_title(_title(data), size=10.5, loc="left", color=style.INK, pad=7)
    last = axes
    if scheduled:
        last = figure.add_subplot(grid[1, -1], sharex=axes)
        style.plain_axes(last, 9)
        last.plot(data.rate_step, data.rate, color=style.GREY, lw=1.4)
        last.axvline(data.seen_step[-1], color=style.GREY, lw=0.8, ls=":")
        last.set_ylim(0, 1.08)
        last.set_ylabel("rate / peak", size=10)
        axes.tick_params(labelbottom=False)
    end = max(data.step[-1], data.seen_step[-1])
    style.axis_of_fit(last, "linear", 0.0, end)
    last.set_xlabel(style.axis_label("step"), size=10)
    if early:
        _draw_all(figure.add_subplot(grid[:, 0]), data, end)
    else:
        axes.set_ylabel("mean loss (nat per token)", size=10)
        figure.align_ylabels()
    return figure


def _draw_bands(axes: "Axes", data: ForecastCurves) -> None:
    for k, (alpha, level) in reversed(list(enumerate(((0.35, 50), (0.16, 90))))):
        axes.fill_between(
            data.step, data.lower[k], data.upper[k], color=style.BLUE, alpha=alpha, lw=0, label=f"{level}% band"
        )
    axes.plot(data.step, data.mean, color=style.BLUE, lw=1.8, label="forecast")
    axes.plot(data.hidden_step, data.hidden_loss, ".", ms=3, color=style.VERMILION, label="hidden losses")
    axes.plot(data.seen_step, data.seen_loss, "o", ms=3, mfc="white", mec=style.INK, mew=0.7, label="seen losses")
    axes.axvline(data.seen_step[-1], color=style.GREY, lw=0.8, ls=":")


def _draw_all(axes: "Axes", data: ForecastCurves, end: float) -> None:
    """All losses over the logarithm of the step; one at step 0, which has none, left of the others."""
    style.plain_axes(axes, 9)
    _draw_bands(axes, data)
    first = float(data.seen_step[data.seen_step > 0].min())
    at_zero = data.seen_loss[data.seen_step == 0]
    if at_zero.size:
        first /= 2
        axes.plot(np.full(len(at_zero), first), at_zero, "<", ms=4, mfc="white", mec=style.INK, mew=0.7)
        axes.text(1.25 * first, at_zero[0], "at step 0", size=8.5, va="center", color=style.INK)
    style.axis_of_fit(axes, "log", first, end, margin=0.04)
    axes.set_xlabel(style.axis_label("step") + " (logarithmic)", size=10)
    axes.set_ylabel("mean loss (nat per token)", size=10)
    axes.set_title("All losses", size=10.5, loc="left", color=style.INK, pad=7)


def _limits(data: ForecastCurves) -> tuple[float, float]:
    """What matters is the forecast: a high beginning of the seen losses may leave its panel."""
    low = min(data.lower.min(), data.seen_loss.min(), data.hidden_loss.min(initial=np.inf))
    recent = data.seen_loss[data.seen_step >= data.seen_step[-1] / 5]
    high = max(data.upper.max(), recent.max())
    room = 0.06 * (high - low)
    return low - room, high + 2 * room


def _title(data: ForecastCurves) -> str:
    title = f"Forecast from {len(data.seen_step)} losses up to step {data.seen_step[-1]:,.0f}"
    if np.isfinite(data.mse):
        return f"{title}; MSE of {len(data.hidden_step)} hidden ones {style.number(data.mse)} nat²"
    return title
