"""Is the pulse shared? Mean pulses by learning time, aligned at the event, with drop and sharpness."""

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from ...jobs import Analysis, coarse_lags
from .. import style
from .bands import Banded, band_words, banded, refuse_without_events
from .headings import heading, title
from .lags import lag_axis, lag_label, lag_values, per_u, reach_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclasses.dataclass(frozen=True)
class AlignedPulses:
    """Mean pulses of groups of equally many events, earliest first.

    Attributes:
        time: (groups,) mean learning time (geometric on a log scale), axis units.
        lags: (lags,) u, at most half a window.
        pulse: (groups, lags) mean centred pulse, averaged over the lag bins, nat/u.
        drop: (groups,) mean drop, nat.
        drop_std: (groups,) standard deviation of the drops, nat.
        sharpness: (groups,) geometric mean of the sharpness, 1/u.
        sharpness_std: (groups,) factor of one standard deviation of ln(sharpness).
        events: events in each group.
        analysis: where all of it comes from.
    """

    time: np.ndarray
    lags: np.ndarray
    pulse: Banded
    drop: Banded
    drop_std: np.ndarray
    sharpness: Banded
    sharpness_std: np.ndarray
    events: int
    analysis: Analysis


def aligned_pulses_data(analysis: Analysis) -> AlignedPulses:
    """Mean pulses, drops and sharpness by learning time.

    Args:
        analysis: of `tsl_jax.jobs.analyse`.

    Raises:
        ValueError: there are no events inside the window.
    """
    refuse_without_events(analysis)
    grid, pulses = analysis.read.spectrum.grid, analysis.curves.value.pulses
    logs = banded(analysis, lambda c: c.pulses.log_sharpness)
    return AlignedPulses(
        time=grid.axis(np.asarray(pulses.u)),
        lags=coarse_lags(grid),
        pulse=banded(analysis, lambda c: c.pulses.pulse),
        drop=banded(analysis, lambda c: c.pulses.drop),
        drop_std=np.asarray(pulses.drop_std),
        sharpness=Banded(*(np.exp(values) for values in (logs.value, logs.low, logs.high))),
        sharpness_std=np.exp(np.asarray(pulses.log_sharpness_std)),
        events=round(float(np.nanmean(pulses.events))),
        analysis=analysis,
    )


def draw_aligned_pulses(data: AlignedPulses) -> "Figure":
    """Draw the pulses over each other, and what makes them differ beside them."""
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import ListedColormap, LogNorm, Normalize

    grid, name = data.analysis.read.spectrum.grid, data.analysis.read.axis_name
    figure = style.new_figure(10.4, 5.0)
    cells = figure.add_gridspec(
        2, 2, width_ratios=(1.5, 1), left=0.07, right=0.985, top=0.825, bottom=0.115, hspace=0.12, wspace=0.42
    )
    left, upper, lower = (
        figure.add_subplot(cells[:, 0]),
        figure.add_subplot(cells[0, 1]),
        figure.add_subplot(cells[1, 1]),
    )
    for axes in (left, upper, lower):
        style.plain_axes(axes, 9)
    lowest, highest = float(np.nanmin(data.time)), float(np.nanmax(data.time))
    if not lowest < highest:
        lowest, highest = grid.first, grid.last
    norm = (LogNorm if grid.scale == "log" else Normalize)(lowest, highest)
    colours = colormaps["viridis"](0.92 * np.asarray(norm(data.time)))
    x = lag_values(grid, data.lags)
    for index, colour in enumerate(colours):
        pulse = data.pulse[index]
        if np.isfinite(pulse.low).any():
            left.fill_between(x, pulse.low, pulse.high, color=colour, alpha=0.13, lw=0)
        left.plot(x, pulse.value, color=colour, lw=0.9)
    left.axhline(0, lw=0.7, color=style.PALE, zorder=0)
    lag_axis(left, grid, reach_of(data.lags, data.pulse.value, 0.9))
    left.set_xlabel(lag_label(grid, name), size=10)
    left.set_ylabel(f"−dℓ/du (nat per unit of {per_u(grid, name)})", size=10)
    title(left, "a", "Mean pulse around the event")
    mappable = ScalarMappable(norm, ListedColormap(colormaps["viridis"](np.linspace(0, 0.92, 256))))
    bar = figure.colorbar(mappable, ax=left, pad=0.015, fraction=0.04, aspect=35)
    bar.set_label(f"learning time ({style.axis_label(name)})", size=9, color=style.INK)
    bar.ax.tick_params(labelsize=8, color=style.GREY, labelcolor=style.INK, which="both", length=2)
    bar.outline.set_visible(False)
    _plain_ticks(bar.ax.yaxis, lowest, highest, grid.scale == "log")
    _draw_moments(upper, lower, data)
    text = f"Is the pulse shared? {len(data.time)} groups of {data.events:,} events by learning time"
    width = f"pulses in bins of {style.number(data.lags[1] - data.lags[0])} in {per_u(grid, name)}"
    heading(figure, text, f"{width}; {band_words(data.analysis)}")
    return figure


def _plain_ticks(axis, lowest: float, highest: float, log: bool) -> None:
    from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullFormatter

    axis.set_major_locator(MaxNLocator(5))
    if log:
        decades = range(int(np.floor(np.log10(lowest))), int(np.ceil(np.log10(highest))) + 1)
        steps = (1, 3) if highest / lowest > 10 else (1, 2, 3, 5, 7)
        ticks = [step * 10.0**decade for decade in decades for step in steps]
        axis.set_major_locator(FixedLocator([tick for tick in ticks if lowest <= tick <= highest]))
        axis.set_minor_formatter(NullFormatter())
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))


def _draw_moments(upper: "Axes", lower: "Axes", data: AlignedPulses) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    grid, name = data.analysis.read.spectrum.grid, data.analysis.read.axis_name
    drops = (data.drop.value - data.drop_std, data.drop.value + data.drop_std)
    wide = (data.sharpness.value / data.sharpness_std, data.sharpness.value * data.sharpness_std)
    for axes, curve, ends in ((upper, data.drop, drops), (lower, data.sharpness, wide)):
        axes.fill_between(data.time, *ends, color=style.PALE, alpha=0.6, lw=0, label="± one standard deviation")
        axes.plot(data.time, curve.value, color=style.BLUE, lw=1.6, label="mean")
        if np.isfinite(curve.low).any():
            axes.fill_between(data.time, curve.low, curve.high, color=style.BLUE, alpha=0.45, lw=0, label="its band")
        style.axis_of_fit(axes, grid.scale, grid.first, grid.last)
    upper.axhline(0, lw=0.7, color=style.PALE, zorder=0)
    upper.tick_params(labelbottom=False)
    upper.set_ylabel("drop (nat)", size=10)
    title(upper, "b", "Drop and sharpness of single events")
    lower.set_yscale("log")
    lower.yaxis.set_major_locator(LogLocator(10, subs=(1, 3)))
    lower.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    lower.yaxis.set_minor_formatter(NullFormatter())
    lower.set_ylabel(f"sharpness (per {per_u(grid, name)})", size=10)
    lowest, highest = float(np.nanmin(wide[0])), float(np.nanmax(wide[1]))
    top = max(highest / lowest, 4.0)  # also where all are alike
    lower.set_ylim(lowest / top**0.05, highest * top**0.12)
    lower.legend(loc="upper left", frameon=False, fontsize=8, handlelength=1.4, borderaxespad=0, labelspacing=0.3)
    lower.set_xlabel(f"learning time ({style.axis_label(name)})", size=10)
