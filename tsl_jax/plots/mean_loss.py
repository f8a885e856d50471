"""Mean loss of all tokens, and the mean of their fits over it."""

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from ..curves import Family
from ..jobs import mean_curves
from ..jobs.in_memory import fits_source
from . import style

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclasses.dataclass(frozen=True)
class MeanLoss:
    """Means over the same tokens at every checkpoint that the fits used; arrays (checkpoints used,).

    Attributes:
        axis: axis values.
        mean_loss: mean of the measured losses, nat.
        mean_fit: mean of the fits, nat: of each token the curve or the constant that counts.
        residual: ``mean_fit - mean_loss``, nat.
        r2: ``1 - Σ residual² / Σ (mean_loss - its mean)²`` over checkpoints.
        tokens: greatest number of tokens that entered at a checkpoint.
        left_out: checkpoints of the store that are not here, as the fits did not use them.
        axis_name: such as ``"step"``.
        scale: ``"log"`` or ``"linear"``.
    """

    axis: np.ndarray
    mean_loss: np.ndarray
    mean_fit: np.ndarray
    residual: np.ndarray
    r2: float
    tokens: int
    left_out: int
    axis_name: str
    scale: str


def mean_loss_data(
    losses: Any, fits: Any, *, family: Family | None = None, time: Any = None, axis: str = "step"
) -> MeanLoss:
    """Average losses and fits over all tokens, streamed; see `tsl_jax.jobs.mean_curves`.

    Args:
        losses: a loss store, or a path of one; of a `Fit` the array (curves, checkpoints).
        fits: its fit store, likewise, or a `Fit`.
        family: needed only for a store of a family of your own.
        time: (checkpoints,) axis values, needed only for a `Fit`.
        axis: what to call them.

    Raises:
        StoreError: the two stores do not belong together. ValueError: the arrays do not.
    """
    fits = fits_source(fits, time, axis)
    means = mean_curves(losses, fits, family=family)
    used = np.setdiff1d(np.arange(len(means.axis)), fits.left_out_checkpoints)
    loss, fit = means.mean_loss[used], means.mean_fit[used]
    residual = fit - loss
    there = np.isfinite(residual)
    tss = np.sum((loss[there] - loss[there].mean()) ** 2) if there.any() else 0.0
    return MeanLoss(
        axis=means.axis[used],
        mean_loss=loss,
        mean_fit=fit,
        residual=residual,
        r2=float(1 - np.sum(residual[there] ** 2) / tss) if tss > 0 else float("nan"),
        tokens=int(means.num_tokens[used].max(initial=0)),
        left_out=len(means.axis) - len(used),
        axis_name=fits.axis_name,
        scale=fits.scale,
    )


def draw_mean_loss(data: MeanLoss) -> "Figure":
    """Draw both means, and their difference in a panel below."""
    figure = style.new_figure(7.4, 5.2)
    grid = figure.add_gridspec(2, 1, height_ratios=(3.2, 1), left=0.1, right=0.98, top=0.925, bottom=0.105, hspace=0.09)
    upper = figure.add_subplot(grid[0])
    lower = figure.add_subplot(grid[1], sharex=upper)
    for axes in (upper, lower):
        style.plain_axes(axes, 9)
    upper.plot(data.axis, data.mean_loss, "o", ms=4, mfc="white", mec=style.INK, mew=0.8, label="mean loss, measured")
    label = f"mean of the fits, R² = {_r2(data.r2)}"
    upper.plot(data.axis, data.mean_fit, "-", lw=1.8, color=style.VERMILION, label=label)
    upper.set_ylabel("mean loss (nat per token)", size=10)
    upper.legend(loc="upper right", frameon=False, fontsize=10)
    upper.tick_params(labelbottom=False)
    upper.set_title(_title(data), size=10.5, loc="left", color=style.INK, pad=7)
    lower.axhline(0, lw=0.8, color=style.GREY)
    lower.vlines(data.axis, 0, data.residual, lw=0.8, color=style.VERMILION, alpha=0.5)
    lower.plot(data.axis, data.residual, "o", ms=2.8, color=style.VERMILION)
    lower.set_ylabel("residual (nat)", size=10)
    most = float(np.nanmax(np.abs(data.residual), initial=1e-9))
    lower.set_ylim(-1.15 * most, 1.15 * most)
    lower.set_xlabel(style.axis_label(data.axis_name), size=10)
    style.axis_of_fit(lower, data.scale, data.axis[0], data.axis[-1])
    figure.align_ylabels([upper, lower])
    return figure


def _r2(value: float) -> str:
    return f"{value:.5f}" if value > 0.999 else f"{value:.4f}"


def _title(data: MeanLoss) -> str:
    left_out = f"; {data.left_out} checkpoint at 0 left out" if data.left_out else ""
    return f"Mean loss of {data.tokens:,} tokens and the mean of their fits{left_out}"
