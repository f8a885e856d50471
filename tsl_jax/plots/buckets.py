"""Mean loss over training of sequences in buckets by score, and how far each falls within the window."""

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from ..jobs import BucketCurves, SampleWeights
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
        weighting: of events in the scores, ``"count"`` or ``"drop"``.
        weight: (buckets,) their weight.
        fall: (buckets,) mean loss at the window's start less that at its end, nat.
        fall_stderr: (buckets,) its standard error over sequences.
    """

    axis_name: str
    scale: str
    axis: np.ndarray
    loss: np.ndarray
    window: tuple[float, float]
    score: np.ndarray
    weighting: str
    weight: np.ndarray
    fall: np.ndarray
    fall_stderr: np.ndarray


def buckets_data(
    axis_name: str, scale: str, window: tuple[float, float], weights: SampleWeights, curves: BucketCurves
) -> BucketsData:
    """Put together what is drawn; on a log scale a checkpoint at 0 is left out.

    Args:
        axis_name: name of the axis.
        scale: of the fits.
        window: start and end, axis units.
        weights: of `tsl_jax.score_store`.
        curves: of `tsl_jax.jobs.bucket_losses` with this window.
    """
    kept = curves.axis > 0 if scale == "log" else np.ones(len(curves.axis), bool)
    members = [weights.bucket == bucket for bucket in range(len(curves.loss))]
    return BucketsData(
        axis_name=axis_name,
        scale=scale,
        axis=curves.axis[kept],
        loss=curves.loss[:, kept],
        window=window,
        score=np.array([weights.score[inside].mean() for inside in members]),
        weighting=weights.weighting,
        weight=np.array([weights.weight[inside].mean() for inside in members]),
        fall=curves.fall,
        fall_stderr=curves.fall_stderr,
    )


def draw_buckets(data: BucketsData) -> "Figure":
    """Draw the curves, dark for high scores, and the falls with their standard errors."""
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
    by = "score by drop" if data.weighting == "drop" else "score"
    curves.set_title(f"Sequences in buckets by {by}; the window is grey", size=10.5, loc="left", color=style.INK, pad=7)
    curves.legend(frameon=False, fontsize=8.5, loc="lower left")
    falls = figure.add_subplot(grid[1])
    style.plain_axes(falls, 9)
    places = np.arange(1, len(data.fall) + 1)
    falls.bar(places, data.fall, color=colours, width=0.8)
    falls.errorbar(places, data.fall, data.fall_stderr, fmt="none", ecolor=style.INK, elinewidth=1, capsize=2.5)
    falls.set_xticks(places)
    falls.set_xlabel(f"bucket, by {by}", size=9.5)
    falls.set_ylabel("fall of the mean loss (nat per token)", size=9.5)
    falls.set_title("Within the window ± error", size=10.5, loc="left", color=style.INK, pad=7)
    return figure
