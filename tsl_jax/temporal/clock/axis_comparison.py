"""Dynamic time or steps: on which axis the time law explains the losses better."""

import numpy as np
from jaxtyping import Array, Float

from ...jax_switches import with_own_switches
from ...pytrees import pytree
from .time_power_law import TimeLaw, time_law


@pytree
class AxisComparison:
    """The time law in dynamic time and in steps, for the same losses.

    Attributes:
        dynamic_time: the law in dynamic time.
        step: the law in steps.
        delta_aic: how much better dynamic time explains the losses: twice the difference of the log likelihoods, each
            with the noise that fits it best; positive for dynamic time, decisive beyond about 10.

    Example:
        >>> import jax.numpy as jnp
        >>> step = jnp.arange(100.0, 5000.0, 50.0)
        >>> tau = 1e-3 * step - 1e-7 * step**2
        >>> comparison = compare_axes(tau, step, tau**-0.33 + 2.0)
        >>> round(float(comparison.dynamic_time.params["exponent"]), 2)
        0.33
    """

    dynamic_time: TimeLaw
    step: TimeLaw
    delta_aic: Float[Array, "*batch"]


@with_own_switches
def compare_axes(
    dynamic_time: Float[Array | np.ndarray, " rows"],
    step: Float[Array | np.ndarray, " rows"],
    loss: Float[Array | np.ndarray, " rows"],
    *,
    weights: Float[Array | np.ndarray, " rows"] | None = None,
    level: float = 0.95,
    least_floor: float | None = 0.0,
) -> AxisComparison:
    """The time law in dynamic time and the same law in steps: which explains the losses better.

    Args:
        dynamic_time: (rows,) sums of the learning rates.
        step: (rows,) updates done, 1 or more.
        loss: (rows,) mean losses, nat.
        weights: (rows,) relative inverse variances.
        level: of the intervals.
        least_floor: lowest floor, nat; ``None``: none.

    Returns:
        `AxisComparison`.

    Raises:
        ValueError: what `time_law` refuses.

    Example:
        >>> import jax.numpy as jnp
        >>> step = jnp.arange(100.0, 5000.0, 50.0)
        >>> tau = 1e-3 * step - 1e-7 * step**2
        >>> bool(compare_axes(tau, step, tau**-0.33 + 2.0).delta_aic > 10)
        True
    """
    time, steps = (
        time_law(axis, loss, weights=weights, level=level, least_floor=least_floor) for axis in (dynamic_time, step)
    )
    return AxisComparison(time, steps, 2 * (time.log_likelihood - steps.log_likelihood))
