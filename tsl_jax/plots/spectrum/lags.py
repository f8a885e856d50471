"""Axes over lags, from before an event to after it, and what is given per unit of u."""

from typing import TYPE_CHECKING

import numpy as np

from ...spectrum import SpectrumGrid
from .. import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def lag_values(grid: SpectrumGrid, lags: np.ndarray) -> np.ndarray:
    """Lags as they are drawn: on a log scale the ratio of time to learning time, else the difference."""
    return np.exp(lags) if grid.scale == "log" else lags


def lag_label(grid: SpectrumGrid, axis_name: str) -> str:
    """What an axis of `lag_values` shows."""
    axis = style.axis_label(axis_name)
    return f"{axis} / learning time" if grid.scale == "log" else f"{axis} − learning time"


def per_u(grid: SpectrumGrid, axis_name: str) -> str:
    """The unit "per u" in words."""
    short = {"step": "step", "tokens_seen": "tokens", "lr_sum": "τ"}.get(axis_name, axis_name)
    return f"ln({short})" if grid.scale == "log" else short


def lag_axis(axes: "Axes", grid: SpectrumGrid, reach: float) -> None:
    """The horizontal axis over lags, from minus to plus ``reach`` (u)."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

    if grid.scale == "log":
        axes.set_xscale("log")
        axes.set_xlim(np.exp(-reach), np.exp(reach))
        ticks = [value for value in (0.01, 0.03, 0.1, 0.3, 0.5, 1, 2, 3, 10, 30, 100) if abs(np.log(value)) < reach]
        ticks = [value for value in ticks if reach < 1.5 or value not in (0.5, 2)]
        ticks = [value for value in ticks if reach < 3 or value not in (0.3, 3, 0.03, 30)]
        axes.xaxis.set_major_locator(FixedLocator(ticks))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}×"))
    else:
        axes.set_xlim(-reach, reach)
        axes.xaxis.set_major_locator(MaxNLocator(5))


def reach_of(lags: np.ndarray, pulses: np.ndarray, fraction: float = 0.9) -> float:
    """Lag (u) within which this fraction of the area of |pulses| (..., lags) lies, at least 4 lags."""
    area = np.nan_to_num(np.abs(pulses)).reshape(-1, len(lags)).sum(0)
    order = np.argsort(np.abs(lags), kind="stable")
    reached = np.cumsum(area[order]) / max(area.sum(), 1e-30)
    at = min(int(np.searchsorted(reached, fraction)), len(lags) - 1)
    return float(max(abs(lags[order[at]]), np.sort(np.abs(lags))[min(8, len(lags) - 1)]))
