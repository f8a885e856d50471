"""When tokens are learned: the distribution of learning times, domain by domain."""

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from ..curves import Family
from ..fitting import Category, Status
from ..jobs import family_of
from ..store import FitStore, StoreError
from . import style
from .groups import ALL_TOKENS, Domain, domains_of, pieces, read_domains

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BINS = 40
MOST_DOMAINS = 12
#: Medians are found in bins this many times finer: within a ten-thousandth of the window's width.
_FINER = 256


@dataclasses.dataclass(frozen=True)
class GroupTimes:
    """Events of the tokens of one domain.

    Attributes:
        name: the domain's name.
        tokens: its tokens that were fitted or tried.
        falling: (bins,) tokens `LEARNED` with a loss that falls, by learning time.
        rising: (bins,) the same with a loss that rises.
        categories: tokens per category, by name.
        median: median learning time of the tokens in ``falling``, axis units; NaN without any.
    """

    name: str
    tokens: int
    falling: np.ndarray
    rising: np.ndarray
    categories: dict[str, int]
    median: float


@dataclasses.dataclass(frozen=True)
class LearningTimes:
    """Distribution of events over the window: from the first to the last checkpoint used.

    Attributes:
        edges: (bins + 1,) borders of the bins in axis units, equally wide in the fitted coordinate.
        groups: all tokens first, then each of the first `MOST_DOMAINS` domains.
        axis_name: such as ``"step"``.
        scale: ``"log"`` or ``"linear"``.
    """

    edges: np.ndarray
    groups: tuple[GroupTimes, ...]
    axis_name: str
    scale: str

    def share(self, counts: np.ndarray, group: GroupTimes) -> np.ndarray:
        """Counts as the share of a group's tokens per bin."""
        return counts / max(1, group.tokens)


def learning_times_data(fits: FitStore, *, bins: int = BINS, family: Family | None = None) -> LearningTimes:
    """Count events by domain and time over a whole fit store, streamed.

    Args:
        fits: a fit store of a family with events.
        bins: bins over the window.
        family: needed only for a family of your own.

    Raises:
        StoreError: the family has no event.
    """
    family = family or family_of(fits)
    if family.event is None:
        raise StoreError(f"{fits.name}: family {family.name!r} has no event; expected one such as 'sigmoid'")
    used = np.setdiff1d(np.arange(fits.num_checkpoints), fits.left_out_checkpoints)
    axis = fits.axis()[used]
    space = np.geomspace if fits.scale == "log" else np.linspace
    fine = space(axis[0], axis[-1], bins * _FINER + 1)
    fine[[0, -1]] = axis[[0, -1]]
    groups = [Domain(None, ALL_TOKENS), *domains_of(fits)[:MOST_DOMAINS]]
    times = np.zeros((len(groups), 2, bins * _FINER), np.int64)
    codes_of_category = [int(category) for category in Category]
    categories = np.zeros((len(groups), len(codes_of_category)), np.int64)
    tokens = np.zeros(len(groups), np.int64)
    for part in pieces(fits.num_tokens, fits.chunk_tokens):
        stored, codes = fits.read(part), read_domains(fits, part)
        tried = stored.status != Status.PENDING
        event = stored.params[family.event].astype(np.float64)
        rises = stored.params["loss_drop"] < 0 if "loss_drop" in stored.params else np.zeros(len(event), bool)
        for index, group in enumerate(groups):
            rows = group.rows(codes, len(event)) & tried
            tokens[index] += rows.sum()
            categories[index] += [np.sum(stored.category[rows] == code) for code in codes_of_category]
            learned = rows & (stored.category == Category.LEARNED)
            for kind, members in enumerate((learned & ~rises, learned & rises)):
                # An event that float32 put a hair outside the window still counts in the bin at its end.
                inside = np.clip(event[members], fine[0], fine[-1])
                times[index, kind] += np.histogram(inside, fine)[0]
    return LearningTimes(
        edges=fine[::_FINER],
        groups=tuple(
            GroupTimes(
                name=group.name,
                tokens=int(tokens[index]),
                falling=times[index, 0].reshape(bins, _FINER).sum(axis=1),
                rising=times[index, 1].reshape(bins, _FINER).sum(axis=1),
                categories={c.name: int(n) for c, n in zip(Category, categories[index], strict=True)},
                median=_median(times[index, 0], fine),
            )
            for index, group in enumerate(groups)
        ),
        axis_name=fits.axis_name,
        scale=fits.scale,
    )


def _median(counts: np.ndarray, edges: np.ndarray) -> float:
    total = counts.sum()
    if total == 0:
        return float("nan")
    below = np.cumsum(counts)
    at = int(np.searchsorted(below, total / 2))
    part = (total / 2 - (below[at] - counts[at])) / counts[at]
    return float(edges[at] + part * (edges[at + 1] - edges[at]))


def draw_learning_times(data: LearningTimes) -> "Figure":
    """Draw one strip a domain: the density of learning times, with what lies outside the window beside it."""
    rows = len(data.groups)
    figure = style.new_figure(9.2, 1.25 + 0.92 * rows)
    height = figure.get_figheight()
    grid = figure.add_gridspec(
        rows, 1, left=0.165, right=0.775, top=1 - 0.62 / height, bottom=0.6 / height, hspace=0.22
    )
    highest = max([float(np.max(data.share(group.falling + group.rising, group))) for group in data.groups] + [1e-9])
    first = None
    for index, group in enumerate(data.groups):
        axes = figure.add_subplot(grid[index], sharex=first)
        first = first or axes
        _draw_strip(axes, data, group, highest)
        axes.tick_params(labelbottom=index == rows - 1)
    if first is not None:
        style.axis_of_fit(first, data.scale, data.edges[0], data.edges[-1], margin=0.01)
    _write_words(figure, data, height)
    return figure


def _draw_strip(axes: "Axes", data: LearningTimes, group: GroupTimes, highest: float) -> None:
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    everyone = group.name == ALL_TOKENS
    style.plain_axes(axes, 8.5)
    falling = data.share(group.falling, group)
    rising = data.share(group.rising, group)
    axes.stairs(falling, data.edges, fill=True, color=style.BLUE, alpha=0.8, lw=0)
    axes.stairs(falling + rising, data.edges, baseline=falling, fill=True, color=style.ORANGE, lw=0)
    axes.set_ylim(0, 1.1 * highest)
    axes.yaxis.set_major_locator(MaxNLocator(2, steps=[1, 2, 4, 5, 10]))
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    if np.isfinite(group.median):
        axes.axvline(group.median, lw=1.4, color=style.VERMILION)
    axes.text(
        -0.075,
        0.5,
        group.name,
        size=9.5,
        weight="bold" if everyone else "normal",
        color=style.INK,
        ha="right",
        va="center",
        transform=axes.transAxes,
    )
    count = group.categories
    axes.text(
        1.02,
        0.5,
        f"{group.tokens:,} tokens, median {style.number(group.median)}\n"
        f"EARLY {count['EARLY']:,} · LATE {count['LATE']:,}\n"
        f"UNLEARNED {count['UNLEARNED']:,}",
        size=8.3,
        color=style.INK,
        va="center",
        linespacing=1.3,
        transform=axes.transAxes,
    )


def _write_words(figure: "Figure", data: LearningTimes, height: float) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    figure.text(
        0.012,
        1 - 0.13 / height,
        "When tokens are learned: share of tokens per bin",
        size=11.5,
        weight="bold",
        va="top",
        color=style.INK,
    )
    handles = [
        Patch(color=style.BLUE, alpha=0.8, lw=0, label="loss falls"),
        Patch(color=style.ORANGE, lw=0, label="loss rises"),
        Line2D([], [], color=style.VERMILION, lw=1.4, label="median, falling"),
    ]
    figure.legend(
        handles=handles,
        loc="upper right",
        bbox_to_anchor=(0.99, 1 - 0.05 / height),
        ncols=3,
        frameon=False,
        fontsize=9.5,
        columnspacing=1.4,
        handlelength=1.4,
    )
    axis = style.axis_label(data.axis_name)
    figure.text(0.47, 0.13 / height, f"learning time ({axis})", size=10, ha="center", color=style.INK)
