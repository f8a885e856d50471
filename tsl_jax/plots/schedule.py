"""The schedule that laws prefer: its rates beside cosine and WSD, and the losses they are predicted to give."""

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from . import style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ..temporal.laws.schedule_choice import ScheduleChoice

#: Steps at which rates, and losses, are drawn.
_RATES, _LOSSES = 600, 80


@dataclasses.dataclass(frozen=True)
class ScheduleCurves:
    """What is drawn, the choice first.

    Attributes:
        names: of the schedules, in words.
        rate_step: (rates,) numbers of updates.
        rate: (schedules, rates) learning rates.
        step: (rows,) steps of the losses.
        loss: (schedules, rows) predicted losses, nat.
        gain: by name of the schedules that the choice is compared with: gain and ends of its interval, nat.
        level: of the intervals.
    """

    names: tuple[str, ...]
    rate_step: np.ndarray
    rate: np.ndarray
    step: np.ndarray
    loss: np.ndarray
    gain: dict[str, tuple[float, float, float]]
    level: float


def schedule_data(found: "ScheduleChoice") -> ScheduleCurves:
    """Put together what is drawn.

    Args:
        found: the choice.
    """
    schedules = [found.learning_rate, *found.baseline.values()]
    last = len(found.learning_rate)
    picked = np.unique(np.linspace(1, last, min(last, _RATES)).round().astype(int))
    # Losses of the second half, where schedules differ.
    step = np.unique(np.linspace(max(last // 2, 1), last, min(last, _LOSSES)).round().astype(int))
    return ScheduleCurves(
        (found.shape, *found.baseline),
        picked,
        np.stack([rate[picked - 1] for rate in schedules]),
        step,
        np.stack([found.predict(rate, step) for rate in schedules]),
        {name: (found.gain[name], found.lower[name], found.upper[name]) for name in found.gain},
        found.level,
    )


def draw_schedule(data: ScheduleCurves) -> "Figure":
    """Draw the rates on the left, the predicted losses of the second half on the right."""
    figure = style.new_figure(8.6, 3.9)
    grid = figure.add_gridspec(1, 2, left=0.085, right=0.97, top=0.83, bottom=0.135, wspace=0.25)
    rates, losses = figure.add_subplot(grid[0]), figure.add_subplot(grid[1])
    looks = ((style.BLUE, 2.0, "-"), (style.ORANGE, 1.4, "--"), (style.GREEN, 1.4, "-."))
    for k, name in enumerate(data.names):
        colour, width, line = looks[k % len(looks)]
        label = f"chosen: {name}" if k == 0 else name
        order = 3 - k
        rates.plot(data.rate_step, data.rate[k], line, color=colour, lw=width, label=label, zorder=order)
        losses.plot(data.step, data.loss[k], line, color=colour, lw=width, zorder=order)
    for axes, first in ((rates, 0.0), (losses, float(data.step[0]))):
        style.plain_axes(axes, 9)
        style.axis_of_fit(axes, "linear", first, float(data.step[-1]))
        axes.set_xlabel(style.axis_label("step"), size=10)
    rates.set_ylim(0, 1.05 * data.rate.max())
    rates.set_ylabel("learning rate", size=10)
    rates.ticklabel_format(axis="y", style="sci", scilimits=(0, 0), useMathText=True)
    rates.legend(frameon=False, fontsize=9, loc="lower left")
    losses.set_ylabel("predicted mean loss (nat per token)", size=10)
    words = [f"{gain:.3f} ({low:.3f} to {high:.3f}) over {name}" for name, (gain, low, high) in data.gain.items()]
    title = "\n".join([f"Predicted gain in nat, {data.level:.0%} interval:", *words])
    losses.set_title(title, size=9.5, loc="left", color=style.INK, pad=6)
    rates.set_title("Schedules", size=10.5, loc="left", color=style.INK, pad=18)
    return figure
