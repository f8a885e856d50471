"""When groups of tokens are learned: spectrum and median learning time of each."""

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from ...jobs import Analysis
from .. import style
from .bands import Banded, band_words, draw_steps_band, refuse_without_events
from .headings import heading
from .lags import per_u

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


#: Right edges of the columns of numbers beside the strips.
_COLUMNS = (0.845, 0.92, 0.985)
#: Strips whose heights differ by more than this factor are drawn each on its own scale.
_MOST_UNEQUAL = 5.0


@dataclasses.dataclass(frozen=True)
class GroupSpectra:
    """Learning times by the groups of one token coordinate; events inside the window whose loss falls.

    Attributes:
        coordinate: its name.
        labels: (groups,) names.
        tokens: (groups,) tokens of the mean loss.
        learned: (groups,) fraction of them with such an event.
        edges: (bins + 1,) borders of the bins, axis units.
        spectrum: (groups, bins) density of learning times, 1/u.
        median: (groups,) median learning time, axis units.
        mean: (groups,) mean learning time (geometric on a log scale), axis units.
        ungrouped: tokens of no group.
        categories: whether groups are categories, which have no order of their own.
        analysis: where all of it comes from.
    """

    coordinate: str
    labels: tuple[str, ...]
    tokens: np.ndarray
    learned: np.ndarray
    edges: np.ndarray
    spectrum: Banded
    median: Banded
    mean: Banded
    ungrouped: int
    categories: bool
    analysis: Analysis


def group_spectra_data(analysis: Analysis, coordinate: str) -> GroupSpectra:
    """Spectra, medians and means of the groups of a coordinate.

    Args:
        analysis: of `tsl_jax.jobs.analyse`.
        coordinate: one that was read with the spectrum.

    Raises:
        ValueError: there are no events inside the window, or the coordinate was not read.
    """
    refuse_without_events(analysis)
    if coordinate not in analysis.groups:
        known = ", ".join(analysis.groups) or "none"
        raise ValueError(f"coordinate: got {coordinate!r}, expected one that was grouped by: {known}")
    group, grid = analysis.groups[coordinate], analysis.read.spectrum.grid
    number = len(group.grouping.labels)

    def band(name: str) -> Banded:
        ends = (group.times.value, group.times.low, group.times.high)
        return Banded(*(np.asarray(getattr(end, name), np.float64)[:number] for end in ends))

    spectrum = band("spectrum")
    return GroupSpectra(
        coordinate=coordinate,
        labels=group.grouping.labels,
        tokens=np.asarray(group.times.value.tokens)[:number],
        learned=np.asarray(group.times.value.learned)[:number],
        edges=grid.axis(np.linspace(grid.edges[0], grid.edges[-1], spectrum.value.shape[1] + 1)),
        spectrum=spectrum,
        median=band("median"),
        mean=band("mean"),
        ungrouped=sum(group.tokens[-1].values()),
        categories=group.grouping.edges is None,
        analysis=analysis,
    )


def draw_group_spectra(data: GroupSpectra) -> "Figure":
    """Draw the spectra as strips over one axis, with the median and its interval in each."""
    rows = len(data.labels)
    height = 1.55 + 0.55 * rows
    figure = style.new_figure(9.2, height)
    cells = figure.add_gridspec(rows, 1, left=0.2, right=0.69, top=1 - 0.9 / height, bottom=0.62 / height, hspace=0.12)
    heights = _heights(data)
    ticks = [_tick(height) for height in heights]
    # Labels stand clear of the longest number on the axes.
    clear = 0.02 + 0.0175 * max(len(f"{tick:g}") for tick in ticks)
    size = 9.5 if clear < 0.09 else 8.8
    grid, name = data.analysis.read.spectrum.grid, data.analysis.read.axis_name
    first = None
    for index, label in enumerate(data.labels):
        axes = figure.add_subplot(cells[index], sharex=first)
        first = first or axes
        style.plain_axes(axes, 8.5)
        _draw_strip(axes, data, index, heights[index], ticks[index])
        style.write(axes, -clear, 0.45, label, size=size, ha="right", va="center", parse_math=False)
        axes.tick_params(labelbottom=index == rows - 1)
        for place, text in zip(_COLUMNS, _words(data, index), strict=True):
            figure.text(place, _middle(axes), text, size=8.8, ha="right", va="center", color=style.INK)
    if first is not None:
        style.axis_of_fit(first, grid.scale, grid.first, grid.last, margin=0.01)
    figure.text(
        0.445, 0.12 / height, f"learning time ({style.axis_label(name)})", size=10, ha="center", color=style.INK
    )
    what = data.coordinate.replace("_", " ")
    unequal = ", heights differ" if heights.min() < heights.max() else ""
    words = f"density per unit of {per_u(grid, name)}{unequal}, loss falls; line: median; learned: with such an event; "
    words += band_words(data.analysis)
    if data.ungrouped:
        words += f"; {data.ungrouped:,} tokens of no group"
    heading(figure, f"When tokens are learned, by {what}", words)
    for place, text in zip(_COLUMNS, ("median (interval)", "tokens", "learned"), strict=True):
        figure.text(place, 1 - 0.66 / height, text, size=8.8, ha="right", va="top", color=style.GREY)
    return figure


def _middle(axes: "Axes") -> float:
    box = axes.get_position()
    return (box.y0 + box.y1) / 2


def _heights(data: GroupSpectra) -> np.ndarray:
    """(groups,) top of each strip: the same for all, unless some would be flat lines."""
    tops = np.fmax(data.spectrum.value, np.nan_to_num(data.spectrum.high))
    heights = np.array([np.nanmax(top, initial=1e-9) for top in tops])
    known = heights[heights > 1e-9]
    if len(known) and known.max() < _MOST_UNEQUAL * known.min():
        return np.full(len(heights), known.max())
    return np.where(heights > 1e-9, heights, known.max(initial=1e-9))


def _draw_strip(axes: "Axes", data: GroupSpectra, index: int, height: float, tick: float) -> None:
    from matplotlib.ticker import FixedLocator, FuncFormatter

    draw_steps_band(axes, data.edges, data.spectrum[index], style.BLUE)
    median = data.median[index]
    if np.isfinite(median.low):
        axes.axvspan(float(median.low), float(median.high), color=style.VERMILION, alpha=0.25, lw=0)
    if np.isfinite(median.value):
        axes.axvline(float(median.value), color=style.VERMILION, lw=1.4)
    axes.set_ylim(0, 1.05 * height)
    axes.yaxis.set_major_locator(FixedLocator([0, tick]))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def _tick(height: float) -> float:
    """The roundest number at most this high."""
    step = 10.0 ** np.floor(np.log10(height))
    return float(step * max(n for n in (1, 2, 4, 5) if n * step <= height))


def _words(data: GroupSpectra, index: int) -> tuple[str, str, str]:
    median = data.median[index]
    text = _short(median.value) if np.isfinite(median.value) else "no event"
    interval = f" ({_short(median.low)} to {_short(median.high)})" if np.isfinite(median.low) else ""
    fraction = f"{data.learned[index]:.0%}" if np.isfinite(data.learned[index]) else ""
    return text + interval, f"{data.tokens[index]:,.0f}", fraction


def _short(number: np.ndarray) -> str:
    value = float(number)
    if 0.01 <= abs(value) < 1000:
        return f"{value:,.3g}"
    return f"{value:,.0f}" if 1 <= abs(value) < 1e6 else style.number(value)
