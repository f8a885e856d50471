"""How well the loss curves of several runs fall onto one curve over a shared axis."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int

from ...jax_switches import with_own_switches
from ...pytrees import pytree


@pytree
class Collapse:
    """One curve through all runs, and what it leaves.

    Attributes:
        spread: standard deviation of the losses around the shared curve, nat: the number to compare between axes.
        unexplained: the same as a fraction of all variance of the losses, 0 to 1.
        bias: (runs,) mean distance of each run from the shared curve, nat.
        knots: (knots,) values of the axis between which the shared curve is straight in ``ln a``.
        curve: (knots,) its losses, nat.
        num_points: (runs,) rows of each run that lie where at least two runs do.

    Example:
        >>> steps = np.arange(100.0, 1000.0, 10.0)
        >>> bias = collapse([steps, steps], [8.0 - 1e-3 * steps, 8.1 - 1e-3 * steps]).bias
        >>> [f"{distance:.2f}" for distance in bias]
        ['-0.05', '0.05']
    """

    spread: Float[Array, ""]
    unexplained: Float[Array, ""]
    bias: Float[Array, " runs"]
    knots: Float[Array, " knots"]
    curve: Float[Array, " knots"]
    num_points: Int[Array, " runs"]


@with_own_switches
def collapse(axes: Sequence[ArrayLike], losses: Sequence[ArrayLike], *, knots: int = 24) -> Collapse:
    """Lay one curve through several runs and measure what remains; once in dynamic time, once in steps, to compare.

    The shared curve is piecewise linear in ``ln a``, by least squares over the part of the axis that at least two
    runs cover, each run counting the same.

    Args:
        axes: one (rows,) array a run: dynamic time, steps, tokens; positive.
        losses: one (rows,) array a run, nat.
        knots: of the curve, spaced evenly in ``ln a``; at most a quarter of the rows is used.

    Returns:
        `Collapse`.

    Raises:
        ValueError: fewer than two runs, shapes that disagree, values that are not finite, an axis that is not
            positive, or runs that share too little of the axis.

    Example:
        >>> steps = np.arange(100.0, 1000.0, 10.0)
        >>> taus = [1e-3 * steps, 3e-3 * steps]
        >>> losses = [2.0 + tau**-0.5 for tau in taus]
        >>> bool(collapse(taus, losses).spread < 0.1 * collapse([steps, steps], losses).spread)
        True

    Source: arXiv 2602.03685.
    """
    runs = _checked(axes, losses)
    x, y = (np.concatenate(part) for part in zip(*runs, strict=True))
    run = np.repeat(np.arange(len(runs)), [len(axis) for axis, _ in runs])
    shared = np.sum([(axis.min() <= x) & (x <= axis.max()) for axis, _ in runs], axis=0) >= 2
    count = np.bincount(run[shared], minlength=len(runs))
    if np.sum(count > 0) < 2 or shared.sum() < 8:
        raise ValueError(
            f"axes: {shared.sum()} rows between {x.min():g} and {x.max():g} lie where at least two runs do, expected "
            "8 or more; compare runs over the same part of training"
        )
    x, y, run = np.log(x[shared]), y[shared], run[shared]
    at = np.linspace(x.min(), x.max(), int(np.clip(knots, 2, max(2, len(x) // 4))))
    weights = 1.0 / count[run] / np.sum(count > 0)
    curve = _shared_curve(*(jnp.asarray(value, float) for value in (x, y - y.mean(), weights, at)))
    left = jnp.asarray(y - y.mean()) - jnp.interp(x, at, curve)
    variance = jnp.sum(weights * left**2)
    bias = jnp.array([jnp.sum(jnp.where(run == i, left, 0.0)) / max(count[i], 1) for i in range(len(runs))])
    return Collapse(
        jnp.sqrt(variance),
        variance / float(np.sum(weights * (y - np.sum(weights * y)) ** 2)),
        bias,
        jnp.asarray(np.exp(at), float),
        curve + y.mean(),
        jnp.asarray(count),
    )


@jax.jit
def _shared_curve(x, y, weights, at) -> Float[Array, " knots"]:
    """Losses at the knots: least squares over hat functions; a knot without rows follows its neighbours."""
    hats = jax.vmap(lambda unit: jnp.interp(x, at, unit), out_axes=1)(jnp.eye(len(at), dtype=x.dtype))
    bends = jnp.diff(jnp.eye(len(at), dtype=x.dtype), n=2, axis=0) * 1e-4
    root = jnp.sqrt(weights)
    rows = jnp.concatenate([hats * root[:, None], bends])
    return jnp.linalg.lstsq(rows, jnp.concatenate([y * root, jnp.zeros(len(bends), x.dtype)]))[0]


def _checked(axes, losses) -> list[tuple[np.ndarray, np.ndarray]]:
    if len(axes) < 2 or len(axes) != len(losses):
        raise ValueError(
            f"axes, losses: got {len(axes)} axes and {len(losses)} losses, expected one of each a run, 2 runs or more"
        )
    runs = []
    for i, (axis, loss) in enumerate(zip(axes, losses, strict=True)):
        axis, loss = np.asarray(axis, np.float64), np.asarray(loss, np.float64)
        if axis.ndim != 1 or axis.shape != loss.shape or not axis.size:
            raise ValueError(f"axes[{i}], losses[{i}]: got shapes {axis.shape} and {loss.shape}, expected (rows,) both")
        if not (np.all(np.isfinite(axis) & (axis > 0)) and np.all(np.isfinite(loss))):
            raise ValueError(
                f"axes[{i}], losses[{i}]: expected finite values and a positive axis; leave out rows without a "
                "measurement and the one before training"
            )
        runs.append((axis, loss))
    return runs
