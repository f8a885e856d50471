"""The position law: hyperbolas at several checkpoints, and how their parameters evolve."""

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from . import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from ..jobs.positions import PositionLosses
    from ..temporal import Evolution, PositionLaw, Separation

_COLOURS = (style.SKY, style.GREEN, style.ORANGE, style.VERMILION, style.BLUE)
#: Places at which a curve is drawn.
_PLACES = 200
_PARAMETERS = ("amplitude", "rate", "floor")


@dataclasses.dataclass(frozen=True)
class PositionPanels:
    """What is drawn.

    Attributes:
        position: (places,) from 1, close to each other in the logarithm.
        shown: (curves,) axis values of the checkpoints whose hyperbolas are drawn.
        curve: (curves, places) those hyperbolas, nat.
        place: (bins,) mean positions in log-spaced bins.
        mean: (curves, bins) measured losses there, weighted means, nat.
        stderr: (curves, bins) their standard errors.
        axis: (checkpoints,) axis values.
        axis_name: such as ``"step"``.
        params: (checkpoints,) amplitude, rate and floor, by name; NaN where the data do not determine one.
        errors: (checkpoints,) their standard errors, by name.
        course: (checkpoints,) their chosen forms, by name; NaN before the form's start.
        form: names of those forms.
        r2: (checkpoints,) of the hyperbola over positions.
        ceiling: (checkpoints,) the R² that noise allows.
        binned: (checkpoints,) R² with positions pooled in bins.
        separation: point, lower and upper end of the separation point; NaN if it was not looked for.
        reached: whether it lies before the end.
    """

    position: np.ndarray
    shown: np.ndarray
    curve: np.ndarray
    place: np.ndarray
    mean: np.ndarray
    stderr: np.ndarray
    axis: np.ndarray
    axis_name: str
    params: dict[str, np.ndarray]
    errors: dict[str, np.ndarray]
    course: dict[str, np.ndarray]
    form: dict[str, str]
    r2: np.ndarray
    ceiling: np.ndarray
    binned: np.ndarray
    separation: tuple[float, float, float]
    reached: bool


def position_law_data(
    table: "PositionLosses",
    law: "PositionLaw",
    courses: "dict[str, Evolution]",
    separation: "Separation | None" = None,
    *,
    curves: int = 4,
    bins: int = 16,
) -> PositionPanels:
    """Put together what is drawn; a checkpoint at 0 is left out.

    Args:
        table: losses per position.
        law: their hyperbolas, of the same checkpoints.
        courses: `Evolution` of each parameter.
        separation: the separation point, if it was looked for.
        curves: how many hyperbolas, at checkpoints evenly spaced in the logarithm of the axis, the last among them.
        bins: log-spaced bins of positions in which measured losses are pooled.
    """
    from ..temporal import log_bins

    kept = np.flatnonzero(table.axis > 0)
    axis = table.axis[kept]
    # The first checkpoints hardly know positions yet.
    targets = np.geomspace(axis[-1], max(axis[0], axis[-1] / 32), curves)
    rows = np.unique([int(np.abs(np.log(axis / target)).argmin()) for target in targets])
    bin_of = np.asarray(log_bins(table.position, bins))
    into = np.eye(bin_of[-1] + 1)[bin_of]
    mean, stderr = table.mean[kept][rows], table.stderr[kept][rows]
    known = np.isfinite(mean) & (stderr > 0)
    weight = np.where(known, 1 / np.square(np.where(known, stderr, 1)), 0)
    total = weight @ into
    with np.errstate(invalid="ignore", divide="ignore"):
        pooled, error = (weight * np.where(known, mean, 0)) @ into / total, 1 / np.sqrt(total)
    params, errors, course = {}, {}, {}
    for name in _PARAMETERS:
        found = courses[name]
        # Where the rate lies on its bound, the amplitude is only that of this bound.
        determined = np.isfinite(np.asarray(law.stderr["floor" if name == "floor" else "rate"]))
        params[name] = np.where(determined, np.asarray(law.params[name]), np.nan)[kept]
        errors[name] = np.where(determined, np.asarray(law.stderr[name]), np.nan)[kept]
        course[name] = np.where(axis >= float(found.start), np.asarray(found.predict(axis)), np.nan)
    places = np.geomspace(table.position[0], table.position[-1], _PLACES)
    point = (np.nan,) * 3
    if separation is not None:
        point = tuple(float(getattr(separation, name)) for name in ("point", "lower", "upper"))
    return PositionPanels(
        position=places,
        shown=axis[rows],
        curve=np.asarray(law.predict(places))[kept][rows],
        place=np.bincount(bin_of, table.position) / np.bincount(bin_of),
        mean=pooled,
        stderr=error,
        axis=axis,
        axis_name=table.axis_name,
        params=params,
        errors=errors,
        course=course,
        form={name: str(courses[name].chosen_name).replace("_", " ") for name in _PARAMETERS},
        r2=np.asarray(law.r2)[kept],
        ceiling=np.asarray(law.r2_ceiling)[kept],
        binned=np.asarray(law.r2_binned)[kept],
        separation=(point[0], point[1], point[2]),
        reached=separation is not None and bool(separation.reached),
    )


def draw_position_law(data: PositionPanels) -> "Figure":
    """Draw hyperbolas on the left, the evolution of their parameters and R² on the right."""
    figure = style.new_figure(10.4, 5.6)
    outer = figure.add_gridspec(1, 2, width_ratios=(1, 1.35), left=0.06, right=0.99, top=0.92, bottom=0.1, wspace=0.17)
    _draw_curves(figure.add_subplot(outer[0]), data)
    inner = outer[1].subgridspec(2, 2, hspace=0.3, wspace=0.27)
    for place, name in enumerate(_PARAMETERS):
        _draw_course(figure.add_subplot(inner[place]), data, name)
    _draw_r2(figure.add_subplot(inner[3]), data)
    return figure


def _draw_curves(axes: "Axes", data: PositionPanels) -> None:
    style.plain_axes(axes, 9)
    for k, step in enumerate(data.shown):
        colour = _COLOURS[(k - len(data.shown)) % len(_COLOURS)]
        axes.errorbar(
            *(data.place, data.mean[k], data.stderr[k]), fmt="o", ms=4, mfc="white", color=colour, lw=0.9, mew=0.9
        )
        axes.plot(data.position, data.curve[k], color=colour, lw=1.6, label=style.number(step))
    axes.set_ylabel("mean loss (nat per token)", size=10)
    axes.set_xlabel(style.axis_label("position"), size=10)
    style.axis_of_fit(axes, "log", data.position[0], data.position[-1])
    low, high = axes.get_ylim()
    axes.set_ylim(low, high + 0.12 * (high - low))
    words = style.axis_label(data.axis_name)
    axes.legend(frameon=False, fontsize=9, title=words, title_fontsize=9, ncols=len(data.shown), loc="upper center")
    axes.set_title("Hyperbolas over binned means", size=10.5, loc="left", color=style.INK, pad=7)


def _draw_course(axes: "Axes", data: PositionPanels, name: str) -> None:
    style.plain_axes(axes, 8.5)
    point, lower, upper = data.separation
    if name != "floor" and np.isfinite(point):
        axes.axvspan(lower, upper, color=style.PALE, alpha=0.7, lw=0)
        axes.axvline(point, color=style.GREY, lw=1)
    values, course = data.params[name], data.course[name]
    bars = {
        "ms": 2.6,
        "mfc": "white",
        "mec": style.BLUE,
        "mew": 0.6,
        "ecolor": style.SKY,
        "elinewidth": 0.6,
        "alpha": 0.8,
    }
    error = data.errors[name]
    if name != "floor":  # on a logarithmic axis: a bar from 0 or below would hide its upper end, too
        error = np.stack([np.minimum(error, values * (1 - 1e-6)), error])
    axes.errorbar(data.axis, values, error, fmt="o", zorder=2, **bars)
    axes.plot(data.axis, course, color=style.VERMILION, lw=1.6, zorder=3)
    late = data.axis >= data.axis[-1] / 16
    seen = np.concatenate([values[late & np.isfinite(values)], course[late & np.isfinite(course)]])
    if name != "floor" and seen.size and seen.min() > 0:
        axes.set_yscale("log")
        axes.set_ylim(max(seen.min() / 2, 1e-3), seen.max() * 2)
        style.log_ticks(axes.yaxis)
    style.axis_of_fit(axes, "log", max(data.axis[0], data.axis[-1] / 64), data.axis[-1])
    unit = {"rate": "1/position"}.get(name, "nat")
    axes.set_title(f"{name} ({unit}): {data.form[name]}", size=10, loc="left", color=style.INK, pad=5)
    if name != "floor" and np.isfinite(point):
        words = f"constant from {style.number(point)} on" if data.reached else "not yet constant"
        box = {"facecolor": "white", "alpha": 0.8, "lw": 0, "pad": 1.5}
        style.write(axes, 0.93, 0.96, words, fontsize=8.5, ha="right", va="top", bbox=box, zorder=4)
    if name == "floor":
        axes.set_xlabel(style.axis_label(data.axis_name), size=9.5)


def _draw_r2(axes: "Axes", data: PositionPanels) -> None:
    style.plain_axes(axes, 8.5)
    axes.plot(data.axis, data.binned, color=style.GREEN, lw=1.4, label="in bins")
    axes.plot(data.axis, data.ceiling, color=style.INK, lw=1.2, ls="--", label="what noise leaves of it")
    axes.plot(data.axis, data.r2, color=style.BLUE, lw=1.4, label="single positions")
    axes.set_ylim(0, 1.5)
    axes.set_yticks(np.linspace(0, 1, 6))
    style.axis_of_fit(axes, "log", max(data.axis[0], data.axis[-1] / 64), data.axis[-1])
    axes.set_xlabel(style.axis_label(data.axis_name), size=9.5)
    axes.legend(frameon=False, fontsize=8, loc="upper right")
    axes.set_title("R² of the hyperbola", size=10, loc="left", color=style.INK, pad=5)
