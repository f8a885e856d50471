"""A grid of single tokens: measured losses, the fit, and when the token was learned."""

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from ..curves import Family
from ..fitting import Category
from ..jobs import family_of, predict_store
from ..jobs.domains import domains_of, read_domains
from ..store import FitStore, LossStore, StoredFit
from . import style
from .token_choice import MOST_COLUMNS, MOST_TOKENS, choose, columns_of, members_of, rows_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_CURVE_POINTS = 200


@dataclasses.dataclass(frozen=True)
class TokenPanel:
    """One token: losses (checkpoints used,), its fit (curve points,), and what is said of it.

    Attributes:
        token: its row in the stores.
        labels: its coordinates that have a place in the title, by name, such as ``{"position": 17}``.
        losses: measured losses, nat, NaN where missing.
        fitted: the curve or constant that counts at `TokenGrid.curve_axis`, nat.
        category: name of its `Category`.
        event: axis value of its event, NaN without one.
        event_stderr: its standard error, NaN where the data give none.
        r2: of its fit.
    """

    token: int
    labels: dict[str, int | str]
    losses: np.ndarray
    fitted: np.ndarray
    category: str
    event: float
    event_stderr: float
    r2: float


@dataclasses.dataclass(frozen=True)
class TokenGrid:
    """Panels in rows (kinds of tokens) and columns (domains); None where there is no such token.

    Attributes:
        axis: (checkpoints used,) axis values.
        curve_axis: (points,) axis values of the curves, dense, over the same window.
        axis_name: such as ``"step"``.
        scale: ``"log"`` or ``"linear"``.
        event: name of the parameter that is an event, None for families without.
        row_labels: one a row.
        panels: rows of panels.
    """

    axis: np.ndarray
    curve_axis: np.ndarray
    axis_name: str
    scale: str
    event: str | None
    row_labels: tuple[str, ...]
    panels: tuple[tuple[TokenPanel | None, ...], ...]


def tokens_data(losses: LossStore, fits: FitStore, *, family: Family | None = None) -> TokenGrid:
    """Choose tokens for the grid and read them; the same store gives the same grid.

    The rule: among the first `MOST_TOKENS` tokens, for every row of `ROWS` (category, sign of the drop) and
    every one of the first `MOST_COLUMNS` domains, the token whose R² is at the row's quantile. Stores without
    domains have five quantiles of R² as columns.

    Args:
        losses: the loss store.
        fits: its fit store.
        family: needed only for a family of your own.

    Raises:
        StoreError: the store's family is unknown and ``family`` was not given.
    """
    family = family or family_of(fits)
    tokens = slice(0, min(MOST_TOKENS, fits.num_tokens))
    stored = fits.read(tokens)
    codes = read_domains(fits, tokens)
    domains = domains_of(fits)[:MOST_COLUMNS]
    used = np.setdiff1d(np.arange(fits.num_checkpoints), fits.left_out_checkpoints)
    axis = fits.axis()[used]
    space = np.geomspace if fits.scale == "log" else np.linspace
    curve_axis = space(axis[0], axis[-1], _CURVE_POINTS)
    rows, panels = [], []
    for row in rows_of(family, domains):
        chosen = [
            choose(members_of(stored, row) & domain.rows(codes, len(stored.r2)), stored.r2, quantile)
            for domain, quantile in columns_of(domains, row.quantile)
        ]
        if any(token is not None for token in chosen):
            rows.append(row.label)
            panels.append(
                tuple(None if t is None else _panel(losses, fits, family, stored, t, used, curve_axis) for t in chosen)
            )
    return TokenGrid(axis, curve_axis, fits.axis_name, fits.scale, family.event, tuple(rows), tuple(panels))


def _panel(
    losses: LossStore,
    fits: FitStore,
    family: Family,
    stored: StoredFit,
    token: int,
    used: np.ndarray,
    curve_axis: np.ndarray,
) -> TokenPanel:
    one = slice(token, token + 1)
    labels: dict[str, int | str] = {}
    for name in ("domain", "token_id", "position"):
        if name in fits.token_coordinates:
            labels[name] = int(fits.read_coordinate(name, one)[0])
    for domain in domains_of(fits):
        if domain.code == labels["domain"]:
            labels["domain"] = domain.name
    event, stderr = np.nan, np.nan
    if family.event and stored.category[token] in (Category.LEARNED, Category.EARLY, Category.LATE):
        event = float(stored.params[family.event][token])
        stderr = float(stored.stderr[family.event][token])
    return TokenPanel(
        token=token,
        labels=labels,
        losses=losses.read(one)[0, used].astype(np.float64),
        fitted=predict_store(fits, curve_axis, one, family=family)[0],
        category=Category(stored.category[token]).name,
        event=event,
        event_stderr=stderr,
        r2=float(stored.r2[token]),
    )


def draw_tokens(data: TokenGrid) -> "Figure":
    """Draw the grid: dots for losses, a line for the fit, a band for the event and its standard error."""
    columns = max((len(row) for row in data.panels), default=1)
    rows = max(1, len(data.panels))
    figure = style.new_figure(10.4, 1.06 + 1.42 * rows)
    height = figure.get_figheight()
    grid = figure.add_gridspec(
        rows,
        columns,
        left=0.15,
        right=0.992,
        top=1 - 0.76 / height,
        bottom=0.55 / height,
        hspace=0.5,
        wspace=0.07,
    )
    for i, (label, panels) in enumerate(zip(data.row_labels, data.panels, strict=True)):
        first = None
        top = max([_top(panel) for panel in panels if panel is not None])
        for j, panel in enumerate(panels):
            axes = figure.add_subplot(grid[i, j])
            _draw_panel(axes, data, panel, top)
            axes.tick_params(labelbottom=i == rows - 1, labelleft=j == 0)
            first = first or axes
        if first is not None:
            _label_row(first, label)
    words: dict[str, Any] = {"color": style.INK, "va": "top"}
    figure.text(0.01, 1 - 0.12 / height, "Single tokens and their fits", size=12, weight="bold", **words)
    figure.text(0.992, 1 - 0.1 / height, _key(data.event), size=8, ha="right", linespacing=1.35, **words)
    figure.text(0.57, 0.08 / height, style.axis_label(data.axis_name), size=9.5, ha="center", color=style.INK)
    return figure


def _top(panel: TokenPanel) -> float:
    return 1.1 * float(max(np.nanmax(panel.losses), np.nanmax(panel.fitted), 1.0))


def _label_row(axes: "Axes", label: str) -> None:
    head, _, rest = label.partition("\n")
    box = axes.get_position()
    middle = 0.48 + 0.065 * (rest.count("\n") + 1)
    left = (0.009 - box.x0) / box.width
    style.write(axes, left, middle + 0.02, head, size=8.5, weight="bold", va="bottom")
    style.write(axes, left, middle, rest, size=8, va="top", linespacing=1.25)
    axes.set_ylabel("loss (nat)", size=8, labelpad=3)


def _key(event: str | None) -> str:
    if event is None:
        return "dots: measured loss    line: fit"
    word = event.replace("_", " ")
    return (
        f"dots: measured loss    line: fit    vertical line and band: {word} ± standard error\n"
        f"arrow: {word} before the first or after the last checkpoint"
    )


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
    axes.set_title(_title(panel), size=7, color=style.INK, pad=3, linespacing=1.15)
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
    return " · ".join(place) + "\n" + " · ".join([*details, f"R² {panel.r2:.2f}"])
