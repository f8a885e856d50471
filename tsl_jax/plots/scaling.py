"""A law over model and data size: losses over compute with the best reachable one, and the best sizes."""

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..temporal.laws.size_laws import FLOPS_PER_PARAMETER_TOKEN
from . import style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ..temporal.laws.size_fit import SizeLawFit

#: Budgets along a line.
_POINTS = 60


@dataclasses.dataclass(frozen=True)
class ScalingCurves:
    """What is drawn.

    Attributes:
        flops: (runs,) operations of each run.
        size: (runs,) its parameters.
        loss: (runs,) its final loss, nat.
        fitted: (runs,) the law's, nat.
        budget: (budgets,) operations along the lines.
        best_size: (budgets,) parameters of the lowest loss.
        size_interval: (2, budgets) ends of their interval; NaN without a bootstrap.
        best_loss: (budgets,) that loss, nat.
        loss_interval: (2, budgets) ends of its interval.
        asked: (asked,) budgets that were asked for.
        asked_size: (asked,) their best parameters.
        asked_loss: (asked,) their best losses, nat.
        law: its name.
        level: of the intervals.
    """

    flops: np.ndarray
    size: np.ndarray
    loss: np.ndarray
    fitted: np.ndarray
    budget: np.ndarray
    best_size: np.ndarray
    size_interval: np.ndarray
    best_loss: np.ndarray
    loss_interval: np.ndarray
    asked: np.ndarray
    asked_size: np.ndarray
    asked_loss: np.ndarray
    law: str
    level: float


def scaling_data(
    size: np.ndarray,
    tokens: np.ndarray,
    loss: np.ndarray,
    found: "SizeLawFit",
    budgets: Sequence[float] = (),
    unique_tokens: np.ndarray | None = None,
) -> ScalingCurves:
    """Put together what is drawn.

    Args:
        size: (runs,) parameters.
        tokens: (runs,) training tokens.
        loss: (runs,) final losses, nat.
        found: the law.
        budgets: operations whose best sizes are marked.
        unique_tokens: (runs,) tokens of the data that a run repeats; ``None``: all are new.
    """
    flops, asked = FLOPS_PER_PARAMETER_TOKEN * size * tokens, np.asarray(budgets, np.float64)
    ends = np.concatenate([flops, asked])
    line = found.optimum(np.geomspace(ends.min(), ends.max(), _POINTS))
    marked = found.optimum(asked) if asked.size else None
    return ScalingCurves(
        flops,
        size,
        loss,
        found.predict(size, tokens, unique_tokens),
        line.flops,
        line.size,
        line.size_interval,
        line.loss,
        line.loss_interval,
        asked,
        np.zeros(0) if marked is None else marked.size,
        np.zeros(0) if marked is None else marked.loss,
        found.law.name,
        found.level,
    )


def draw_scaling(data: ScalingCurves) -> "Figure":
    """Draw losses over compute, coloured by size, and beside them the best size for each budget."""
    from matplotlib.colors import LogNorm

    figure = style.new_figure(8.6, 4.2)
    grid = figure.add_gridspec(1, 2, left=0.075, right=0.985, top=0.9, bottom=0.13, wspace=0.25)
    colours = {"c": data.size, "cmap": "viridis", "norm": LogNorm(data.size.min(), data.size.max()), "s": 13, "lw": 0}
    label = f"{data.level:.0%} interval"
    best = (
        ("lowest loss of each budget", data.loss, data.best_loss, data.loss_interval, data.asked_loss),
        ("best size of each budget", data.size, data.best_size, data.size_interval, data.asked_size),
    )
    for place, (name, values, line, interval, asked) in enumerate(best):
        axes = figure.add_subplot(grid[place])
        style.plain_axes(axes, 9)
        drawn = axes.scatter(data.flops, values, label="runs", **colours)
        axes.plot(data.budget, line, color=style.VERMILION, lw=1.7, label=name, zorder=3)
        if np.isfinite(interval).all():
            axes.fill_between(data.budget, *interval, color=style.VERMILION, alpha=0.2, lw=0, label=label)
        if data.asked.size:
            axes.plot(data.asked, asked, "D", ms=5, mfc="white", mec=style.INK, zorder=4, label="budgets asked for")
        axes.set_xscale("log")
        axes.set_xlabel("training compute, 6ND (operations)", size=10)
        axes.legend(frameon=False, fontsize=8.5, loc="upper right" if place == 0 else "upper left")
        if place == 0:
            axes.set_ylabel("final loss (nat per token)", size=10)
            inside = axes.inset_axes((0.05, 0.06, 0.3, 0.028))
            bar = figure.colorbar(drawn, cax=inside, orientation="horizontal")
            bar.ax.tick_params(labelsize=7, length=2, which="both")
            bar.ax.set_title("parameters", size=7.5, pad=3)
            error = float(np.sqrt(np.mean(np.log(data.fitted / data.loss) ** 2)))
            title = f"{len(data.loss)} runs; law of {data.law}, {100 * error:.2g}% off"
        else:
            axes.set_yscale("log")
            axes.set_ylabel("parameters N", size=10)
            title = "What to train"
        axes.set_title(title, size=10.5, loc="left", color=style.INK, pad=7)
    return figure
