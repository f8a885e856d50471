"""The time law in dynamic time and in steps: losses above the floor, straight lines on logarithmic axes."""

import dataclasses
from collections.abc import Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from . import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from ..temporal.clock.time_power_law import TimeLaw


#: More rows than this are drawn as a pale crowd.
_CROWD = 400


@dataclasses.dataclass(frozen=True)
class TimescaleLine:
    """One run over one axis.

    Attributes:
        name: of the run.
        axis: (rows,) dynamic time or steps.
        above: (rows,) loss above the fitted floor, nat; of a law that is not determined, the loss.
        line: (rows,) the fitted power law, nat; of a law that is not determined, empty.
        exponent: its exponent.
        lower: lower end of the exponent's interval.
        upper: upper end.
        determined: whether the losses determine the law; else there is no floor to count from.
    """

    name: str
    axis: np.ndarray
    above: np.ndarray
    line: np.ndarray
    exponent: float
    lower: float
    upper: float
    determined: bool = True


def timescale_data(
    names: Sequence[str], axes: Sequence[np.ndarray], losses: Sequence[np.ndarray], laws: Sequence["TimeLaw"]
) -> tuple[TimescaleLine, ...]:
    """Losses above each run's floor, and the fitted lines.

    Args:
        names: of the runs.
        axes: of each run its axis.
        losses: of each run its losses, nat.
        laws: of each run its time law over that axis.
    """
    lines = []
    for name, axis, loss, law in zip(names, axes, losses, laws, strict=True):
        axis, loss, determined = np.asarray(axis, np.float64), np.asarray(loss, np.float64), bool(law.determined)
        values = {key: float(value) for key, value in law.params.items()}
        above, line = loss, np.zeros(0)
        if determined:
            above, line = loss - values["floor"], values["coefficient"] * axis ** -values["exponent"]
        interval = float(law.exponent_lower), float(law.exponent_upper)
        lines.append(TimescaleLine(name, axis, above, line, values["exponent"], *interval, determined))
    return tuple(lines)


def draw_timescale(panels: dict[str, tuple[TimescaleLine, ...]]) -> "Figure":
    """Draw one panel an axis, such as ``{"lr_sum": ..., "step": ...}``."""
    height = 4.0 + 0.19 * max(map(len, panels.values()))
    space = (height - 4.0 + 0.05) / height
    figure = style.new_figure(4.0 * len(panels) + 0.4, height)
    grid = figure.add_gridspec(
        1, len(panels), left=0.16 / len(panels), right=0.965, top=0.92, bottom=0.16 + space, wspace=0.24
    )
    colours = (style.BLUE, style.VERMILION, style.GREEN, style.ORANGE, style.PURPLE, style.SKY)
    for place, (name, lines) in enumerate(panels.items()):
        axes = figure.add_subplot(grid[place])
        style.plain_axes(axes, 9)
        for k, line in enumerate(lines):
            colour = colours[k % len(colours)]
            _draw_line(axes, line, colour)
        first, last = (pick(line.axis[end] for line in lines) for pick, end in ((min, 0), (max, -1)))
        style.axis_of_fit(axes, "log", first, last)
        known = any(line.determined for line in lines)
        if known:
            axes.set_yscale("log")
            style.log_ticks(axes.yaxis)
        axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(-0.02, -0.15))
        axes.set_xlabel(style.axis_label(name) + "; exponents below" * known, size=9.5)
        if place == 0:
            known = any(line.determined for line in chain.from_iterable(panels.values()))
            axes.set_ylabel(f"loss {'above the floor ' * known}(nat per token)", size=10)
        title = {"lr_sum": "In dynamic time", "step": "In steps"}.get(name, style.axis_label(name))
        axes.set_title(title, size=10.5, loc="left", color=style.INK, pad=7)
    return figure


def _draw_line(axes: "Axes", line: TimescaleLine, colour: str) -> None:
    """Losses, and above them the law, edged in white so that it is seen in a crowd of points."""
    from matplotlib import patheffects

    there = line.above > 0
    crowd = np.sum(there) > _CROWD
    points: dict[str, Any] = {"ms": 1.6, "mfc": colour, "mew": 0, "alpha": 0.3, "rasterized": True}
    if not crowd:
        points = {"ms": 2.6, "mfc": "white", "mec": colour, "mew": 0.6}
    label = None if line.determined else f"{line.name}: no law is determined; the losses"
    axes.plot(line.axis[there], line.above[there], "o", color=colour, zorder=2, label=label, **points)
    if line.determined:
        label = f"{line.name}: {line.exponent:.2f} ({line.lower:.2f} to {line.upper:.2f})"
        edge = [patheffects.withStroke(linewidth=4.0, foreground="white")] if crowd else None
        axes.plot(line.axis, line.line, color=colour, lw=1.7, label=label, zorder=4, path_effects=edge)
