"""What the pictures of a spectrum share: curves with bands, axes over learning time and over lags."""

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from ...jobs import Analysis
from ...spectrum import SpectrumGrid
from .. import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclasses.dataclass(frozen=True)
class Banded:
    """A curve and the bootstrap band around it, NumPy arrays of one shape; without a band, its ends are NaN."""

    value: np.ndarray
    low: np.ndarray
    high: np.ndarray

    def __getitem__(self, index) -> "Banded":
        return Banded(self.value[index], self.low[index], self.high[index])


def banded(analysis: Analysis, get: Callable[[Any], Any]) -> Banded:
    """What ``get`` takes out of the curves of an analysis, with its band."""
    bands = analysis.curves
    return Banded(*(np.asarray(jax.device_get(get(one)), np.float64) for one in (bands.value, bands.low, bands.high)))


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


def draw_band(axes: "Axes", x: np.ndarray, curve: Banded, colour: str, *, alpha: float = 0.25, **line: Any) -> None:
    """A curve over its band."""
    if np.isfinite(curve.low).any():
        axes.fill_between(x, curve.low, curve.high, color=colour, alpha=alpha, lw=0)
    axes.plot(x, curve.value, color=colour, **line)


def draw_steps_band(axes: "Axes", edges: np.ndarray, curve: Banded, colour: str) -> None:
    """A density on bins over its band."""
    axes.stairs(curve.value, edges, fill=True, color=colour, alpha=0.35, lw=0)
    axes.stairs(curve.value, edges, color=colour, lw=1.2)
    if np.isfinite(curve.low).any():
        middle = np.sqrt(edges[1:] * edges[:-1]) if edges[0] > 0 else (edges[1:] + edges[:-1]) / 2
        axes.vlines(middle, curve.low, curve.high, color=style.INK, lw=0.8, alpha=0.7)


def title(axes: "Axes", letter: str, text: str) -> None:
    """Letter and name of a panel."""
    axes.set_title(f"{letter}  {text}", size=10.5, loc="left", color=style.INK, pad=6)


def band_words(analysis: Analysis) -> str:
    """What the bands are, or that there are none."""
    if not np.isfinite(np.asarray(analysis.curves.low.implied_loss)).any():
        return "no bands: too few sequences"
    what = {"sequence": "sequences", "position": "sequences", "token": "tokens"}[analysis.read.sequences]
    return f"bands: {analysis.options.level:.0%}, bootstrap over {what}"


def refuse_without_events(analysis: Analysis) -> None:
    """Raise the analysis's own reason where there is nothing to draw."""
    if not analysis.events:
        raise ValueError(" ".join(analysis.reasons) or "analysis: no event inside the window")
