"""The decomposition of the mean loss: spectrum, shared pulse, derivative, mean loss."""

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from ...jobs import Analysis
from ...jobs.spectrum.curves import tail_curve
from .. import style
from .bands import Banded, band_words, banded, draw_band, draw_steps_band, refuse_without_events
from .headings import heading, title
from .lags import lag_axis, lag_label, lag_values, per_u, reach_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_PART_NAMES = {1: ("all events",), 2: ("loss falls", "loss rises")}


@dataclasses.dataclass(frozen=True)
class SpectrumParts:
    """What the four panels show.

    Attributes:
        edges: (bins + 1,) borders of the bins of ``density``, axis units.
        density: (parts, bins) p, 1/u; parts as in `tsl_jax.spectrum.Decomposition`.
        lags: (lags,) u.
        pulse: (parts, lags) g; nat/u by count, 1/u by drop.
        axis: (times,) axis values of the derivatives.
        derivatives: -dL/du by name, nat/u: ``"observed"`` (with losses), ``"implied"``, ``"p * g"``.
        r2: R² of a derivative against the observed one, against the implied one without losses.
        loss_axis: (checkpoints,) axis values of the means, empty without losses.
        mean_loss: (checkpoints,) measured, nat.
        mean_fit: (checkpoints,) of the fits, nat.
        mean_fit_r2: R² of the mean of the fits; NaN without losses.
        implied_axis: (edges,) axis values of ``implied_loss``.
        implied_loss: (edges,) mean loss of the spectrum, nat.
        tail: exponent γ with its band, and the axis values between which ``p(a) ∝ a^-γ``; NaN without a tail.
        tail_curve: axis values and p (1/u) of that law, two arrays.
        smoothed: half the width of the kernel that smoothed the derivatives, u; None where they are not smoothed.
        tokens: tokens in the mean loss.
        outside: fraction of tokens whose event lies outside the window.
        analysis: where all of it comes from.
    """

    edges: np.ndarray
    density: Banded
    lags: np.ndarray
    pulse: Banded
    axis: np.ndarray
    derivatives: dict[str, Banded]
    r2: dict[str, float]
    loss_axis: np.ndarray
    mean_loss: Banded | None
    mean_fit: Banded | None
    mean_fit_r2: float
    implied_axis: np.ndarray
    implied_loss: Banded
    tail: tuple[float, float, float, float, float]
    tail_curve: tuple[np.ndarray, np.ndarray]
    smoothed: float | None
    tokens: int
    outside: float
    analysis: Analysis


def spectrum_parts_data(analysis: Analysis) -> SpectrumParts:
    """Curves of the decomposition, of its comparison with the mean loss, and of the tail.

    Args:
        analysis: of `tsl_jax.jobs.analyse`.

    Raises:
        ValueError: there are no events inside the window.
    """
    refuse_without_events(analysis)
    curves, grid = analysis.curves.value, analysis.read.spectrum.grid
    bins = curves.density.shape[-1]
    compared = curves.comparison is not None
    if compared:
        names = {"observed": "observed", "implied": "fitted", "p * g": "convolved"}
        derivatives = {
            name: banded(analysis, lambda c, field=field: getattr(c.comparison, field)) for name, field in names.items()
        }
        scores = curves.comparison.scores
        r2 = {"implied": scores["fitted of observed"].r2, "p * g": scores["convolved of observed"].r2}
    else:
        derivatives = {
            "implied": banded(analysis, lambda c: c.parts.implied),
            "p * g": banded(analysis, lambda c: c.parts.convolved),
        }
        implied, convolved = (derivatives[name].value for name in ("implied", "p * g"))
        r2 = {"p * g": 1 - np.sum((convolved - implied) ** 2) / np.sum((implied - implied.mean()) ** 2)}
    tokens = analysis.read.spectrum.tokens
    counted = sum(tokens[name] for name in ("LEARNED", "EARLY", "LATE", "UNLEARNED", "CONSTANT"))
    tail = curves.tails["count"]
    ends = (analysis.curves.low.tails["count"].exponent, analysis.curves.high.tails["count"].exponent)
    return SpectrumParts(
        edges=grid.axis(grid.edges[:: grid.time_bins // bins]),
        density=banded(analysis, lambda c: c.density),
        lags=grid.lags,
        pulse=banded(analysis, lambda c: c.parts.pulse),
        axis=grid.axis(grid.centres),
        derivatives=derivatives,
        r2={name: float(value) for name, value in r2.items()},
        loss_axis=analysis.read.axis[analysis.checkpoints],
        mean_loss=banded(analysis, lambda c: c.mean_loss) if compared else None,
        mean_fit=banded(analysis, lambda c: c.mean_fit) if compared else None,
        mean_fit_r2=float(curves.comparison.scores["mean fit of mean loss"].r2) if compared else float("nan"),
        implied_axis=grid.axis(grid.edges),
        implied_loss=banded(analysis, lambda c: c.implied_loss),
        tail=(float(tail.exponent), float(ends[0]), float(ends[1]), float(tail.lower), float(tail.upper)),
        tail_curve=tail_curve(analysis),
        smoothed=curves.comparison.bandwidth if compared else None,
        tokens=counted,
        outside=(tokens["EARLY"] + tokens["LATE"]) / max(counted, 1),
        analysis=analysis,
    )


def draw_spectrum_parts(data: SpectrumParts) -> "Figure":
    """Draw the four panels: spectrum p, shared pulse g, derivative, mean loss."""
    figure = style.new_figure(10.4, 7.4)
    grid = figure.add_gridspec(2, 2, left=0.075, right=0.985, top=0.875, bottom=0.085, hspace=0.36, wspace=0.2)
    panels = [figure.add_subplot(grid[i // 2, i % 2]) for i in range(4)]
    for axes in panels:
        style.plain_axes(axes, 9)
    _draw_density(panels[0], data)
    _draw_pulse(panels[1], data)
    _draw_derivatives(panels[2], data)
    _draw_losses(panels[3], data)
    spectrum = data.analysis.read.spectrum.grid
    for axes in (panels[0], panels[2], panels[3]):
        style.axis_of_fit(axes, spectrum.scale, spectrum.first, spectrum.last)
        axes.set_xlabel(style.axis_label(data.analysis.read.axis_name), size=10)
    panels[0].set_xlabel(f"learning time ({style.axis_label(data.analysis.read.axis_name)})", size=10)
    words = f"{data.tokens:,} tokens, {data.outside:.1%} with their event outside the window; "
    words += band_words(data.analysis)
    heading(figure, "The learning-time spectrum of the mean loss", words)
    return figure


def _draw_density(axes: "Axes", data: SpectrumParts) -> None:
    colours = (style.BLUE, style.ORANGE)
    names = _PART_NAMES[len(data.density.value)]
    for part, (name, colour) in enumerate(zip(names, colours, strict=False)):
        draw_steps_band(axes, data.edges, data.density[part], colour)
        if len(names) > 1:
            axes.plot([], [], color=colour, lw=5, alpha=0.5, label=name)
    exponent, low, high, *_ = data.tail
    if len(data.tail_curve[0]):
        interval = f" ({low:.2f} to {high:.2f})" if np.isfinite(low) else ""
        label = f"tail: density per {data.analysis.read.axis_name} ∝ a$^{{-γ}}$, γ = {exponent:.2f}{interval}"
        axes.plot(*data.tail_curve, color=style.VERMILION, lw=2, label=label)
    if axes.get_legend_handles_labels()[1]:
        axes.legend(loc="upper right", frameon=False, fontsize=8.5, borderaxespad=0)
    highest = np.nanmax([np.nanmax(data.density.value), np.nanmax(np.nan_to_num(data.density.high))])
    if len(data.tail_curve[0]):  # a power law is a straight line where both axes are logarithmic
        axes.set_yscale("log")
        axes.set_ylim(_least_shown(data, highest), 3 * highest)
        style.log_ticks(axes.yaxis)
    else:
        axes.set_ylim(0, 1.22 * highest)
    grid = data.analysis.read.spectrum.grid
    axes.set_ylabel(f"density per unit of {per_u(grid, data.analysis.read.axis_name)}", size=10)
    title(axes, "a", "Spectrum p: when events happen")


def _least_shown(data: SpectrumParts, highest: float) -> float:
    """The least density that matters beside a tail: a third of the tail's own least, or a thousandth of the highest."""
    return float(max(min(np.min(data.tail_curve[1]) / 3, highest / 30), highest / 1000))


def _draw_pulse(axes: "Axes", data: SpectrumParts) -> None:
    grid, name = data.analysis.read.spectrum.grid, data.analysis.read.axis_name
    reach = reach_of(data.lags, data.pulse.value, 0.95)
    x = lag_values(grid, data.lags)
    names = _PART_NAMES[len(data.pulse.value)]
    for part, colour in zip(range(len(names)), (style.BLUE, style.ORANGE), strict=False):
        label = names[part] if len(names) > 1 else None
        draw_band(axes, x, data.pulse[part], colour, lw=1.8, label=label)
    axes.axvline(lag_values(grid, np.zeros(1))[0], lw=0.7, color=style.PALE, zorder=0)
    if len(names) > 1:
        axes.legend(loc="upper right", frameon=False, fontsize=8.5)
        axes.axhline(0, lw=0.7, color=style.PALE, zorder=0)
    else:
        axes.set_ylim(bottom=0)
    lag_axis(axes, grid, reach)
    axes.set_xlabel(lag_label(grid, name), size=10)
    unit = "nat" if data.analysis.options.weighting == "count" else "share of the drop"
    axes.set_ylabel(f"{unit} per unit of {per_u(grid, name)}", size=10)
    title(axes, "b", "Shared pulse g: mean −dℓ/du around the event")


def _draw_derivatives(axes: "Axes", data: SpectrumParts) -> None:
    looks = {
        "observed": (style.INK, {"lw": 1.4}),
        "implied": (style.BLUE, {"lw": 1.6}),
        "p * g": (style.VERMILION, {"lw": 1.6, "ls": (0, (4, 1.5))}),
    }
    words = {"observed": "mean loss", "implied": "sum of the tokens' own pulses", "p * g": "p * g"}
    for name, curve in data.derivatives.items():
        colour, line = looks[name]
        score = f", R² = {data.r2[name]:.3f}" if name in data.r2 else ""
        draw_band(axes, data.axis, curve, colour, alpha=0.18, label=words[name] + score, **line)
    lowest = min(float(np.nanmin(curve.value)) for curve in data.derivatives.values())
    highest = max(float(np.nanmax(np.fmax(curve.value, curve.high))) for curve in data.derivatives.values())
    axes.set_ylim(min(0, 1.1 * lowest), 1.34 * highest)
    grid, name = data.analysis.read.spectrum.grid, data.analysis.read.axis_name
    axes.legend(loc="upper left", frameon=False, fontsize=8.5, borderaxespad=0)
    if data.smoothed is not None:
        words = f"all smoothed over\n±{style.number(data.smoothed)} in {per_u(grid, name)}"
        style.write(axes, 1, 1, words, size=8.5, ha="right", va="top", linespacing=1.35)
    axes.set_ylabel(f"−dL/du (nat per unit of {per_u(grid, name)})", size=10)
    title(axes, "c", "Derivative of the mean loss")


def _draw_losses(axes: "Axes", data: SpectrumParts) -> None:
    if data.mean_loss is not None and data.mean_fit is not None:
        if np.isfinite(data.mean_loss.low).any():
            axes.fill_between(
                data.loss_axis, data.mean_loss.low, data.mean_loss.high, color=style.GREY, alpha=0.3, lw=0
            )
        axes.plot(
            data.loss_axis, data.mean_loss.value, "o", ms=3.6, mfc="white", mec=style.INK, mew=0.7, label="mean loss"
        )
        label = f"mean of the fits, R² = {data.mean_fit_r2:.4f}"
        axes.plot(data.loss_axis, data.mean_fit.value, color=style.VERMILION, lw=1.6, label=label)
        title(axes, "d", "Mean loss and the mean of the tokens' fits")
    else:
        draw_band(axes, data.implied_axis, data.implied_loss, style.VERMILION, lw=1.6, label="mean of the fits")
        title(axes, "d", "Mean of the tokens' fits")
    axes.legend(loc="upper right", frameon=False, fontsize=8.5, borderaxespad=0)
    axes.set_ylabel("mean loss (nat per token)", size=10)
