"""How many pulse shapes there are: singular spectrum of the aligned pulses and their leading modes."""

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from ...jobs import Analysis
from .. import style
from .bands import Banded, band_words, banded, draw_band, refuse_without_events
from .headings import heading, title
from .lags import lag_axis, lag_label, lag_values, per_u, reach_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Singular values that are shown, and modes.
SHOWN, MODES = 6, 3
_LOOKS = {
    "all pulses": (style.BLUE, "o", "single pulses, as high as they are"),
    "unit area": (style.ORANGE, "s", "single pulses, area 1: only sharpness differs"),
    "group means": (style.GREEN, "^", "means of {} groups by learning time"),
}


@dataclasses.dataclass(frozen=True)
class SingularSpectrum:
    """Energy shares and modes of matrices of aligned pulses.

    Attributes:
        energy: (ranks shown,) fractions of the sum of squares, by matrix: ``"all pulses"``, ``"unit area"``,
            ``"group means"``.
        lags: (lags,) u.
        modes: (modes, lags) leading modes of all pulses, of unit norm.
        analysis: where all of it comes from.
    """

    energy: dict[str, Banded]
    lags: np.ndarray
    modes: Banded
    analysis: Analysis


def singular_spectrum_data(analysis: Analysis) -> SingularSpectrum:
    """Energy shares and leading modes with their bands.

    Args:
        analysis: of `tsl_jax.jobs.analyse`.

    Raises:
        ValueError: there are no events inside the window.
    """
    refuse_without_events(analysis)
    modes = analysis.curves.value.modes
    return SingularSpectrum(
        energy={name: banded(analysis, lambda c, name=name: c.modes[name].energy)[:SHOWN] for name in _LOOKS},
        lags=np.asarray(modes["all pulses"].lags),
        modes=banded(analysis, lambda c: c.modes["all pulses"].modes)[:MODES],
        analysis=analysis,
    )


def draw_singular_spectrum(data: SingularSpectrum) -> "Figure":
    """Draw energy shares on a log scale, and the modes."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

    figure = style.new_figure(10.4, 4.9)
    cells = figure.add_gridspec(1, 2, left=0.09, right=0.985, top=0.815, bottom=0.245, wspace=0.2)
    left, right = (figure.add_subplot(cells[i]) for i in range(2))
    for axes in (left, right):
        style.plain_axes(axes, 9)
    lowest = _lowest(data)
    for shift, (kind, (colour, marker, words)) in zip((-0.12, 0, 0.12), _LOOKS.items(), strict=True):
        fraction = data.energy[kind]
        rank = np.arange(1, len(fraction.value) + 1) + shift
        label = words.format(data.analysis.options.pulse_groups) + f" ({fraction.value[0]:.1%} in the first)"
        left.plot(rank, np.maximum(fraction.value, lowest), marker, clip_on=False, ms=5, color=colour, label=label)
        if np.isfinite(fraction.low).any():
            left.vlines(rank, np.maximum(fraction.low, lowest), np.maximum(fraction.high, lowest), color=colour, lw=1.6)
    left.set_yscale("log")
    left.set_ylim(lowest, 1.6)
    left.yaxis.set_major_locator(FixedLocator([10.0**power for power in range(round(np.log10(lowest)), 1)]))
    left.yaxis.set_minor_locator(NullLocator())
    left.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g}%"))
    left.xaxis.set_major_locator(MaxNLocator(integer=True))
    left.set_xlabel("mode", size=10)
    left.set_ylabel("share of the energy", size=10)
    left.legend(loc="upper left", bbox_to_anchor=(-0.02, -0.15), frameon=False, fontsize=8.5, borderaxespad=0)
    title(left, "a", "Singular spectrum of the aligned pulses")
    grid, name = data.analysis.read.spectrum.grid, data.analysis.read.axis_name
    x = lag_values(grid, data.lags)
    fractions = data.energy["all pulses"].value
    for index, colour in zip(range(len(data.modes.value)), (style.BLUE, style.VERMILION, style.PURPLE), strict=False):
        draw_band(right, x, data.modes[index], colour, lw=1.6, label=f"mode {index + 1}: {fractions[index]:.1%}")
    right.axhline(0, lw=0.7, color=style.PALE, zorder=0)
    lag_axis(right, grid, reach_of(data.lags, data.modes.value, 0.9))
    right.legend(loc="upper right", frameon=False, fontsize=8.5)
    right.set_xlabel(lag_label(grid, name), size=10)
    right.set_ylabel("amplitude (unit norm)", size=10)
    title(right, "b", "Leading modes of single pulses")
    width = grid.unit / (len(data.lags) // 2)
    what = f"pulses in bins of {style.number(width)} in {per_u(grid, name)}, one {len(data.lags) // 2}th of the window"
    heading(figure, "How many pulse shapes are there?", f"{what}; {band_words(data.analysis)}")
    return figure


def _lowest(data: SingularSpectrum) -> float:
    """The decade in which the smallest share lies, from a hundred-thousandth to a hundredth."""
    shares = np.concatenate([fraction.value for fraction in data.energy.values()])
    least = np.min(shares, where=shares > 0, initial=1e-1)
    return float(10.0 ** np.clip(np.floor(np.log10(least)), -5, -2))
