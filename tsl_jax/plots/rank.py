"""Which of several young runs ends lowest: bands at one step, and the choice over training."""

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from . import style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ..temporal.forecasts.ranking import Ranking


@dataclasses.dataclass(frozen=True)
class RankBars:
    """What is drawn, the best run first.

    Attributes:
        names: of the runs.
        mean: (runs,) expected loss at the step, nat.
        lower: (2, runs) lower ends of the 50 and 90% bands.
        upper: (2, runs) upper ends.
        probability: (runs,) that the run ends lowest.
        fractions: of the seen part at which the choice was made.
        choice: (fractions,) place of the chosen run in this order; -1 where there was none.
        step: the step of the comparison.
    """

    names: tuple[str, ...]
    mean: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    probability: np.ndarray
    fractions: np.ndarray
    choice: np.ndarray
    step: float


def rank_data(names: Sequence[str], found: "Ranking") -> RankBars:
    """Put runs in their order.

    Args:
        names: of the runs, as they were given to `rank`.
        found: the ranking.
    """
    order = np.asarray(found.order)
    place = np.append(np.argsort(order), -1)  # of the run -1, which is none
    return RankBars(
        names=tuple(names[int(k)] for k in order),
        mean=np.asarray(found.mean)[order],
        lower=np.asarray(found.lower)[:, order],
        upper=np.asarray(found.upper)[:, order],
        probability=np.asarray(found.probability)[order],
        fractions=np.asarray(found.fractions),
        choice=place[found.choice],
        step=float(found.step),
    )


def draw_rank(data: RankBars) -> "Figure":
    """Draw one line a run: its bands on the left, when it was the choice on the right."""
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    number = len(data.names)
    figure = style.new_figure(7.8, 1.95 + 0.42 * number)
    height = figure.get_figheight()
    left = min(0.38, 0.03 + 0.011 * max(map(len, data.names)))
    ends = {"left": left, "right": 0.97, "top": 1 - 0.45 / height, "bottom": 0.97 / height}
    grid = figure.add_gridspec(1, 2, width_ratios=(2.2, 1), wspace=0.3, **ends)
    bars, choices = figure.add_subplot(grid[0]), figure.add_subplot(grid[1])
    places = np.arange(number)
    for axes in (bars, choices):
        style.plain_axes(axes, 9)
        axes.set_ylim(number - 0.5, -0.5)
    bars.hlines(places, data.lower[1], data.upper[1], color=style.BLUE, lw=2, alpha=0.35, label="90% band")
    bars.hlines(places, data.lower[0], data.upper[0], color=style.BLUE, lw=6, alpha=0.5, label="50% band")
    bars.plot(data.mean, places, "o", ms=5, mfc="white", mec=style.INK, label="expected")
    bars.set_yticks(places, data.names)
    bars.xaxis.set_major_locator(MaxNLocator(5))
    for place, probability in enumerate(data.probability):
        bars.annotate(
            f"{probability:.0%}",
            (1.01, place),
            xycoords=("axes fraction", "data"),
            fontsize=9.5,
            va="center",
            color=style.INK,
        )
    bars.set_xlabel(f"loss at step {data.step:,.0f} (nat per token)", size=10)
    bars.set_title("Forecast, and probability of being best", size=10.5, loc="left", color=style.INK, pad=7)
    handles, labels = bars.get_legend_handles_labels()
    # Below both panels: above them it would cover the bands of a run.
    place = {"loc": "lower left", "bbox_to_anchor": (left - 0.012, 0.02 / height)}
    figure.legend(handles, labels, ncols=3, frameon=False, fontsize=9, **place)
    there = data.choice >= 0
    choices.plot(data.fractions[there], data.choice[there], "s", ms=7, color=style.VERMILION)
    choices.set_yticks(places, [""] * number)
    choices.set_xlim(min(data.fractions.min() - 0.05, 0.25), 1.05)
    choices.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    choices.set_xlabel("part of what was seen", size=10)
    choices.set_title("Choice", size=10.5, loc="left", color=style.INK, pad=7)
    choices.grid(axis="y", color=style.PALE, lw=0.7)
    return figure
