"""When tokens are learned: the distribution of learning times, domain by domain."""

from typing import TYPE_CHECKING

import numpy as np

from ..jobs.domains import ALL_TOKENS
from ..jobs.learning_times import DomainTimes, LearningTimes
from . import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def draw_learning_times(data: LearningTimes) -> "Figure":
    """Draw one strip a domain: the density of learning times, with what lies outside the window beside it."""
    rows = len(data.groups)
    figure = style.new_figure(9.2, 1.25 + 0.92 * rows)
    height = figure.get_figheight()
    grid = figure.add_gridspec(
        rows, 1, left=0.165, right=0.775, top=1 - 0.62 / height, bottom=0.6 / height, hspace=0.22
    )
    highest = max([float(np.max(data.share(group.falling + group.rising, group))) for group in data.groups] + [1e-9])
    first = None
    for index, group in enumerate(data.groups):
        axes = figure.add_subplot(grid[index], sharex=first)
        first = first or axes
        _draw_strip(axes, data, group, highest)
        axes.tick_params(labelbottom=index == rows - 1)
    if first is not None:
        style.axis_of_fit(first, data.scale, data.edges[0], data.edges[-1], margin=0.01)
    _write_words(figure, data, height)
    return figure


def _draw_strip(axes: "Axes", data: LearningTimes, group: DomainTimes, highest: float) -> None:
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    everyone = group.name == ALL_TOKENS
    style.plain_axes(axes, 8.5)
    falling = data.share(group.falling, group)
    rising = data.share(group.rising, group)
    axes.stairs(falling, data.edges, fill=True, color=style.BLUE, alpha=0.8, lw=0)
    axes.stairs(falling + rising, data.edges, baseline=falling, fill=True, color=style.ORANGE, lw=0)
    axes.set_ylim(0, 1.1 * highest)
    axes.yaxis.set_major_locator(MaxNLocator(2, steps=[1, 2, 4, 5, 10]))
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    if np.isfinite(group.median):
        axes.axvline(group.median, lw=1.4, color=style.VERMILION)
    axes.text(
        -0.075,
        0.5,
        group.name,
        parse_math=False,
        size=9.5,
        weight="bold" if everyone else "normal",
        color=style.INK,
        ha="right",
        va="center",
        transform=axes.transAxes,
    )
    count = group.categories
    axes.text(
        1.02,
        0.5,
        f"{group.tokens:,} tokens, median {style.number(group.median)}\n"
        f"EARLY {count['EARLY']:,} · LATE {count['LATE']:,}\n"
        f"UNLEARNED {count['UNLEARNED']:,}",
        size=8.3,
        color=style.INK,
        va="center",
        linespacing=1.3,
        transform=axes.transAxes,
    )


def _write_words(figure: "Figure", data: LearningTimes, height: float) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    figure.text(
        0.012,
        1 - 0.13 / height,
        "When tokens are learned: share of tokens per bin",
        size=11.5,
        weight="bold",
        va="top",
        color=style.INK,
    )
    handles = [
        Patch(color=style.BLUE, alpha=0.8, lw=0, label="loss falls"),
        Patch(color=style.ORANGE, lw=0, label="loss rises"),
        Line2D([], [], color=style.VERMILION, lw=1.4, label="median, falling"),
    ]
    figure.legend(
        handles=handles,
        loc="upper right",
        bbox_to_anchor=(0.99, 1 - 0.05 / height),
        ncols=3,
        frameon=False,
        fontsize=9.5,
        columnspacing=1.4,
        handlelength=1.4,
    )
    axis = style.axis_label(data.axis_name)
    figure.text(0.47, 0.13 / height, f"learning time ({axis})", size=10, ha="center", color=style.INK)
