"""Mean loss over training of sequences in buckets by score, and how far each falls within the window."""

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from . import style

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclasses.dataclass(frozen=True)
class BucketsData:
    """What is drawn.

    Attributes:
        axis_name: such as ``"step"``.
        scale: ``"log"`` or ``"linear"``.
        axis: (checkpoints,) its values.
        loss: (buckets, checkpoints) mean losses, nat.
        window: its start and end, axis units.
        score: (buckets,) mean score of the sequences in each.
        weight: (buckets,) their weight.
        fall: (buckets,) mean loss at the window's start less that at its end, nat.
    """

    axis_name: str
    scale: str
    axis: np.ndarray
    loss: np.ndarray
    window: tuple[float, float]
    score: np.ndarray
    weight: np.ndarray
    fall: np.ndarray


def buckets_data(
    axis_name: str,
    scale: str,
    axis: np.ndarray,
    loss: np.ndarray,
    window: tuple[float, float],
    bucket: np.ndarray,
    score: np.ndarray,
    weight: np.ndarray,
) -> BucketsData:
    """Curves of the buckets, and the fall of each within the window (between checkpoints by a straight line in u).

    Args:
        axis_name: name of the axis.
        scale: of the fits.
        axis: (checkpoints,) axis values.
        loss: (buckets, checkpoints) mean losses, nat.
        window: start and end, axis units.
        bucket: (sequences,) of each sequence.
        score: (sequences,) its score.
        weight: (sequences,) its weight.
    """
    axis = np.asarray(axis, np.float64)
    kept = axis > 0 if scale == "log" else np.ones(len(axis), bool)
    axis, loss = axis[kept], loss[:, kept]
    u = np.log if scale == "log" else np.asarray
    ends = u(np.clip(window, axis[0], axis[-1]))
    at_ends = np.array([np.interp(ends, u(axis), row) for row in loss])
    means = [[values[bucket == k].mean() for k in range(len(loss))] for values in (score, weight)]
    return BucketsData(
        axis_name, scale, axis, loss, window, np.array(means[0]), np.array(means[1]), at_ends[:, 0] - at_ends[:, 1]
    )


def draw_buckets(data: BucketsData) -> "Figure":
    """Draw the curves, dark for high scores, and the falls."""
    from matplotlib import colormaps

    figure = style.new_figure(8.4, 4.0)
    grid = figure.add_gridspec(1, 2, width_ratios=(1.75, 1), left=0.075, right=0.985, top=0.9, bottom=0.14, wspace=0.24)
    colours = colormaps["viridis_r"](np.linspace(0.12, 1, len(data.loss)))
    curves = figure.add_subplot(grid[0])
    style.plain_axes(curves, 9)
    curves.axvspan(*np.clip(data.window, data.axis[0], data.axis[-1]), color=style.PALE, alpha=0.45, lw=0)
    for k, row in enumerate(data.loss):
        label = {0: "lowest score", len(data.loss) - 1: "highest score"}.get(k)
        curves.plot(data.axis, row, color=colours[k], lw=1.4, label=label)
    style.axis_of_fit(curves, data.scale, data.axis[0], data.axis[-1])
    curves.set_xlabel(style.axis_label(data.axis_name), size=9.5)
    curves.set_ylabel("mean loss (nat per token)", size=10)
    curves.set_title("Sequences in buckets by score; the window is grey", size=10.5, loc="left", color=style.INK, pad=7)
    curves.legend(frameon=False, fontsize=8.5, loc="lower left")
    falls = figure.add_subplot(grid[1])
    style.plain_axes(falls, 9)
    falls.bar(np.arange(1, len(data.fall) + 1), data.fall, color=colours, width=0.8)
    falls.set_xticks(np.arange(1, len(data.fall) + 1))
    falls.set_xlabel("bucket, by score", size=9.5)
    falls.set_ylabel("fall of the mean loss (nat per token)", size=9.5)
    falls.set_title("Within the window", size=10.5, loc="left", color=style.INK, pad=7)
    return figure
