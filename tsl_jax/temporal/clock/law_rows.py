"""Rows that the law in time is fitted to: what is wrong with them."""

import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from ...arguments import is_traced
from ..checks import refuse_rising


def check_rows(axis: ArrayLike, loss: ArrayLike, weights: ArrayLike | None) -> None:
    """Refuse rows that `time_law` cannot be fitted to; values are looked at where they are known.

    Raises:
        ValueError: see `time_law`.
    """
    if np.ndim(axis) != 1 or np.shape(axis) != np.shape(loss):
        raise ValueError(
            f"dynamic_time, loss: got shapes {np.shape(axis)} and {np.shape(loss)}, expected (rows,) for both; use "
            "jax.vmap for several curves"
        )
    if weights is not None and np.shape(weights) != np.shape(loss):
        raise ValueError(f"weights: got shape {np.shape(weights)}, expected that of the losses, {np.shape(loss)}")
    if any(map(is_traced, (axis, loss, weights))):
        return
    known = np.zeros(0) if weights is None else np.asarray(weights, np.float64)
    wrong = known[(known < 0) | np.isinf(known)]
    if wrong.size:
        raise ValueError(
            f"weights: got {wrong[0]}, expected finite inverse variances of 0 or above; give rows "
            "to be left out weight 0"
        )
    counts = np.ones(np.shape(loss), bool) if weights is None else np.asarray(weights) > 0
    axis, loss = np.asarray(axis, np.float64)[counts], np.asarray(loss, np.float64)[counts]
    if len(loss) < 5:
        raise ValueError(f"loss: got {len(loss)} row(s) that count, expected at least 5; measure more checkpoints")
    for name, bad in (("dynamic_time", ~(np.isfinite(axis) & (axis > 0))), ("loss", ~np.isfinite(loss))):
        if bad.any():
            value = (axis if name == "dynamic_time" else loss)[bad][0]
            raise ValueError(
                f"{name}: got {value}, expected {'positive ' * (name != 'loss')}finite values; leave the "
                f"{bad.sum()} row(s) out or give them weight 0"
            )
    if jnp.result_type(float) == jnp.float32:
        _check_in_float32(axis)
    refuse_rising(axis, loss)


def _check_in_float32(axis: np.ndarray) -> None:
    float64 = "or switch on float64 with jax.config.update('jax_enable_x64', True)"
    range32 = np.finfo(np.float32)
    beyond = axis[(axis > range32.max) | (axis < range32.tiny)]
    if len(beyond):
        raise ValueError(
            f"dynamic_time: got {beyond[0]:g}, expected values that float32 has, {range32.tiny:.1g} to "
            f"{range32.max:.1g}; count it in another unit, {float64}"
        )
    different = len(np.unique(axis.astype(np.float32)))
    if different < 4:
        raise ValueError(
            f"dynamic_time: has {different} different value(s) in float32, expected at least 4; count it from another "
            f"start, {float64}"
        )
