"""The time law in dynamic time and in steps: losses above the floor, straight lines on logarithmic axes."""

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from . import style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ..temporal.clock.time_power_law import TimeLaw


@dataclasses.dataclass(frozen=True)
class TimescaleLine:
    """One run over one axis.

    Attributes:
        name: of the run.
        axis: (rows,) dynamic time or steps.
        above: (rows,) loss above the fitted floor, nat.
        line: (rows,) the fitted power law, nat.
        exponent: its exponent.
        lower: lower end of the exponent's interval.
        upper: upper end.
    """

    name: str
    axis: np.ndarray
    above: np.ndarray
    line: np.ndarray
    exponent: float
    lower: float
    upper: float

    @property
    def determined(self) -> bool:
        """Whether the losses bound the exponent on both sides; else there is no floor to count from."""
        return self.lower > 0 and bool(np.isfinite(self.upper))


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
        values = {key: float(value) for key, value in law.params.items()}
        axis = np.asarray(axis, np.float64)
        line = values["coefficient"] * axis ** -values["exponent"]
        interval = float(law.exponent_lower), float(law.exponent_upper)
        lines.append(TimescaleLine(name, axis, loss - values["floor"], line, values["exponent"], *interval))
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
            if not line.determined:
                axes.plot([], [], color=colour, label=f"{line.name}: not determined")
                continue
            there = line.above > 0
            axes.plot(line.axis[there], line.above[there], "o", ms=2.6, mfc="white", mec=colour, mew=0.6)
            label = f"{line.name}: {line.exponent:.2f} ({line.lower:.2f} to {line.upper:.2f})"
            axes.plot(line.axis, line.line, color=colour, lw=1.5, label=label)
        axes.set_yscale("log")
        first, last = (pick(line.axis[end] for line in lines) for pick, end in ((min, 0), (max, -1)))
        style.axis_of_fit(axes, "log", first, last)
        style.log_ticks(axes.yaxis)
        axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(-0.02, -0.15))
        axes.set_xlabel(style.axis_label(name) + "; exponents below", size=9.5)
        if place == 0:
            axes.set_ylabel("loss above the floor (nat per token)", size=10)
        title = {"lr_sum": "In dynamic time", "step": "In steps"}.get(name, style.axis_label(name))
        axes.set_title(title, size=10.5, loc="left", color=style.INK, pad=7)
    return figure
