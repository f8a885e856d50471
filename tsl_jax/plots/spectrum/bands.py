"""Curves of an analysis with their bands, and how both are drawn."""

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from ...jobs import Analysis
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
