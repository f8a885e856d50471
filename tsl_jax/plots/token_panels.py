"""The grid of single tokens, drawn."""

from typing import TYPE_CHECKING, Any

import numpy as np

from . import style
from .token_choice import MOST_COLUMNS
from .tokens import TokenGrid, TokenPanel, tokens_data

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Inches: width of a picture with all columns, of the words beside the rows, and height of a row.
_FULL_WIDTH, _WORDS, _ROW = 10.4, 1.56, 1.42
#: Narrower pictures have the key below the title.
_NARROW = 8.5


def plot_tokens(fits: Any, losses: Any = None, **options: Any) -> "Figure":
    """Draw losses and fitted curves of some tokens: `draw_tokens` of `tokens_data`.

    Args:
        fits: see `tokens_data`.
        losses: likewise.
        options: likewise.

    Returns:
        A figure of Matplotlib, which notebooks show; `tsl_jax.plots.save` writes it.

    Example:
        >>> import jax.numpy as jnp, tsl_jax as tsl
        >>> step = jnp.geomspace(1.0, 1000.0, 40)
        >>> losses = 1.0 + 6.0 / (1.0 + (step / jnp.array([[30.0], [100.0]])) ** 2)
        >>> fit = tsl.fit(tsl.Sigmoid(), step, losses)
        >>> len(fit.plot(step, losses).axes), len(fit.plot(step, losses, tokens=[1]).axes)
        (2, 1)
    """
    return draw_tokens(tokens_data(losses, fits, **options))


def draw_tokens(data: TokenGrid) -> "Figure":
    """Draw the grid: dots for losses, a line for the fit, a band for the event and its standard error."""
    columns = max((len(row) for row in data.panels), default=1)
    rows, labelled = max(1, len(data.panels)), any(data.row_labels)
    width = _FULL_WIDTH if labelled or columns >= MOST_COLUMNS else max(4.4, _FULL_WIDTH * columns / MOST_COLUMNS)
    narrow = width < _NARROW
    head = 1.16 if narrow else 0.76
    figure = style.new_figure(width, 0.3 + head + _ROW * rows)
    height = figure.get_figheight()
    left, right = (_WORDS if labelled else 0.62) / width, 1 - 0.08 / width
    ends = {"left": left, "right": right, "top": 1 - head / height, "bottom": 0.55 / height}
    grid = figure.add_gridspec(rows, columns, hspace=0.5, wspace=0.07, **ends)
    for i, (label, panels) in enumerate(zip(data.row_labels, data.panels, strict=True)):
        first = None
        top = max([_top(panel) for panel in panels if panel is not None])
        for j, panel in enumerate(panels):
            axes = figure.add_subplot(grid[i, j])
            _draw_panel(axes, data, panel, top)
            below = i + 1 < rows and j < len(data.panels[i + 1])
            axes.tick_params(labelbottom=not below, labelleft=j == 0)
            first = first or axes
        if first is not None:
            _label_row(first, label)
    words: dict[str, Any] = {"color": style.INK, "va": "top"}
    figure.text(0.1 / width, 1 - 0.12 / height, "Single tokens and their fits", size=12, weight="bold", **words)
    place = (0.1 / width, 1 - 0.42 / height, "left") if narrow else (right, 1 - 0.1 / height, "right")
    figure.text(*place[:2], _key(data), size=8, ha=place[2], linespacing=1.35, **words)
    middle = (left + right) / 2
    figure.text(middle, 0.08 / height, style.axis_label(data.axis_name), size=9.5, ha="center", color=style.INK)
    return figure


def _top(panel: TokenPanel) -> float:
    seen = np.concatenate([panel.losses, panel.fitted])
    return 1.1 * float(np.max(seen, where=np.isfinite(seen), initial=1.0))


def _label_row(axes: "Axes", label: str) -> None:
    axes.set_ylabel("loss (nat)", size=8, labelpad=3)
    if not label:
        return
    head, _, rest = label.partition("\n")
    box = axes.get_position()
    middle = 0.48 + 0.065 * (rest.count("\n") + 1)
    left = (0.1 / _FULL_WIDTH - box.x0) / box.width
    style.write(axes, left, middle + 0.02, head, size=8.5, weight="bold", va="bottom")
    style.write(axes, left, middle, rest, size=8, va="top", linespacing=1.25)


def _key(data: TokenGrid) -> str:
    measured = any(np.isfinite(panel.losses).any() for row in data.panels for panel in row if panel is not None)
    first = "dots: measured loss    " * measured + "line: fit"
    if data.event is None:
        return first
    word = data.event.replace("_", " ")
    band = f"vertical line and band: {word} ± standard error"
    arrow = f"arrow: {word} before the first or after the last checkpoint"
    wide = max(map(len, data.panels)) >= MOST_COLUMNS or any(data.row_labels)
    return f"{first}    {band}\n{arrow}" if wide else f"{first}\n{band}\n{arrow}"


def _draw_panel(axes: "Axes", data: TokenGrid, panel: TokenPanel | None, top: float) -> None:
    if panel is None:
        axes.set_axis_off()
        axes.text(0.5, 0.5, "no such token", size=7, color=style.GREY, ha="center", transform=axes.transAxes)
        return
    colour = style.CATEGORY_COLOURS[panel.category]
    style.plain_axes(axes, 7.5)
    style.axis_of_fit(axes, data.scale, data.axis[0], data.axis[-1], minor=False)
    axes.plot(data.axis, panel.losses, ".", ms=3.2, color=style.INK, alpha=0.5, mew=0, zorder=2)
    axes.plot(data.curve_axis, panel.fitted, "-", lw=1.5, color=colour, zorder=3)
    axes.set_ylim(0, top)
    axes.set_title(_title(panel), parse_math=False, size=7, color=style.INK, pad=3, linespacing=1.15)
    _mark_event(axes, data, panel, colour)


def _mark_event(axes: "Axes", data: TokenGrid, panel: TokenPanel, colour: str) -> None:
    first, last = data.axis[0], data.axis[-1]
    if first <= panel.event <= last:
        axes.axvline(panel.event, lw=0.8, color=colour, zorder=1)
        if np.isfinite(panel.event_stderr):
            low = max(panel.event - panel.event_stderr, np.nextafter(0, 1))
            band = np.clip([low, panel.event + panel.event_stderr], *axes.get_xlim())
            axes.axvspan(band[0], band[1], color=colour, alpha=0.18, lw=0, zorder=0)
    elif np.isfinite(panel.event):
        before = panel.event < first
        axes.annotate(
            "",
            xy=(0.0 if before else 1.0, 0.08),
            xytext=(0.14 if before else 0.86, 0.08),
            xycoords="axes fraction",
            arrowprops={"arrowstyle": "->", "color": colour, "lw": 1.2, "shrinkA": 0, "shrinkB": 0},
        )


def _title(panel: TokenPanel) -> str:
    place = [str(panel.labels["domain"])] if "domain" in panel.labels else []
    place.append(f"token {panel.token:,}")
    details = [
        f"{word} {panel.labels[name]:,}"
        for name, word in (("token_id", "id"), ("position", "position"))
        if name in panel.labels
    ]
    score = "R² 0" if panel.constant else f"R² {panel.r2:.2f}"
    return " · ".join(place) + "\n" + " · ".join([*details, score])
