"""Dynamic time: the sum of the learning rates, from an optax schedule, from arrays, or from recorded rows."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from ...arguments import known_array, whole_number
from ...jax_switches import with_own_switches
from ...pytrees import pytree
from .recorded_rates import rates_between, with_warmup


@pytree
class Schedule:
    """The learning rate of every update. At step ``t``, ``t`` updates are done, so its loss has seen rates 1 to t.

    Made by `schedule_from_optax`, `schedule_from_rates` or `schedule_from_records`, which check it.

    Attributes:
        learning_rate: (updates,) rate of update 1, 2, ...; NumPy float64 where it was known beforehand.

    Example:
        >>> schedule_from_rates([0.1, 0.2, 0.3]).learning_rate.tolist()
        [0.1, 0.2, 0.3]
    """

    learning_rate: Float[Array | np.ndarray, " updates"]

    @property
    def num_steps(self) -> int:
        """The last step that the schedule covers."""
        return self.learning_rate.shape[0]


def schedule_from_rates(learning_rate: ArrayLike) -> Schedule:
    """The schedule of rates known one by one, such as those that a training run logged.

    Args:
        learning_rate: (updates,) rate of every update from the first, none left out.

    Returns:
        `Schedule` of as many steps.

    Raises:
        ValueError: rates that are not finite, negative, or all zero.

    Example:
        >>> schedule_from_rates([0.1, 0.2, 0.3]).num_steps
        3
    """
    rate = known_array("learning_rate", learning_rate)
    if rate.ndim != 1 or not rate.size:
        raise ValueError(f"learning_rate: got shape {rate.shape}, expected (updates,), one rate an update")
    bad = np.flatnonzero(~(np.isfinite(rate) & (rate >= 0)))
    if bad.size:
        raise ValueError(
            f"learning_rate: got {rate[bad[0]]} at update {bad[0] + 1}, expected finite rates of 0 or above; "
            "repair the schedule"
        )
    if not rate.any():
        raise ValueError("learning_rate: all rates are 0, expected some that train; give the rates of the run")
    return Schedule(rate)


@with_own_switches
def schedule_from_optax(rate_of: Callable, num_steps: int) -> Schedule:
    """The schedule of a callable as optax has them: update ``u`` runs at ``rate_of(u - 1)``.

    Args:
        rate_of: count (from 0) to rate; a JAX function such as optax's schedules, or plain Python.
        num_steps: updates to cover.

    Returns:
        `Schedule`.

    Raises:
        ValueError: ``num_steps`` below 1, or rates that `schedule_from_rates` refuses.

    Example:
        >>> import optax
        >>> warm = optax.warmup_constant_schedule(init_value=0.0, peak_value=1e-3, warmup_steps=100)
        >>> schedule = schedule_from_optax(warm, 1000)
        >>> round(float(lr_sum(schedule, 1000)), 4)
        0.9495
    """
    num_steps = whole_number("num_steps", num_steps)
    if not callable(rate_of):
        raise TypeError(
            f"rate_of: got {type(rate_of).__name__}, expected a function from count to rate; rates that are known one "
            "by one go to schedule_from_rates"
        )
    try:
        rates = jax.vmap(lambda count: jnp.asarray(rate_of(count), float))(jnp.arange(num_steps))
    except jax.errors.JAXTypeError:  # plain Python, which decides by the value of the count
        rates = [float(rate_of(count)) for count in range(num_steps)]
    return schedule_from_rates(np.asarray(rates, np.float64))


def schedule_from_records(
    step: ArrayLike, learning_rate: ArrayLike, *, warmup_steps: int | None = None, num_steps: int | None = None
) -> Schedule:
    """The schedule behind recorded rows, such as a loss curve with its learning rates.

    Between rows the rate is linear; a lone jump (the changes before and after it are far smaller) stays a jump and
    happens at the later row. A warm-up rises from 0 in proportion to the count, up to ``warmup_steps``; what follows
    it before the next row is linear too, or that row's rate where no row lies inside the warm-up. What came before the
    first row must be said.

    Args:
        step: (rows,) whole numbers, increasing.
        learning_rate: (rows,) rate of the update that follows each row's step, as optax counts.
        warmup_steps: length of the linear warm-up; 0 for none. Rows may lie inside it. Needed unless the first row is
            step 0 or 1; ``None`` then: as the rows say.
        num_steps: updates to cover, at most the last row's step; by default all.

    Returns:
        `Schedule` of ``num_steps`` updates.

    Raises:
        ValueError: rows that are not increasing whole steps, rates that `schedule_from_rates` refuses, a warm-up
            that is missing or along which the rates do not rise, or a schedule shorter than ``num_steps``.

    Example:
        >>> schedule = schedule_from_records([4, 6, 8], [0.2, 0.2, 0.1], warmup_steps=4)
        >>> [round(float(rate), 2) for rate in schedule.learning_rate]
        [0.0, 0.05, 0.1, 0.15, 0.2, 0.2, 0.2, 0.15]
    """
    step, rate = checked_steps(step), known_array("learning_rate", learning_rate)
    if rate.shape != step.shape:
        raise ValueError(f"learning_rate: got shape {rate.shape}, expected one a row, {step.shape}")
    schedule_from_rates(rate)  # its checks
    last = int(step[-1])
    if num_steps is not None and not 1 <= num_steps <= last:
        raise ValueError(
            f"num_steps: got {num_steps}, expected 1 to {last}: the recorded schedule is shorter than the run; "
            "record more of it, or give the whole schedule by schedule_from_optax or schedule_from_rates"
        )
    step, rate = with_warmup(step, rate, warmup_steps)
    return schedule_from_rates(rates_between(np.arange(num_steps or max(last, 1)), step, rate))


@with_own_switches
def lr_sum(schedule: Schedule, step: ArrayLike) -> Float[Array | np.ndarray, " checkpoints"]:
    """Dynamic time: ``τ(t) = Σ η_u over updates u <= t``, and ``τ(0) = 0``.

    Args:
        schedule: learning rate of every update.
        step: (checkpoints,) updates done, whole numbers; or one.

    Returns:
        (checkpoints,) sums, in units of the learning rate; NumPy float64 where the schedule is known beforehand.

    Raises:
        ValueError: a step is negative or beyond the schedule.

    Example:
        >>> lr_sum(schedule_from_rates([0.5, 0.25, 0.25]), [0, 2, 3]).tolist()
        [0.0, 0.75, 1.0]

    Source: arXiv 2602.03685.
    """
    if not isinstance(schedule, Schedule):
        raise TypeError(
            f"schedule: got {type(schedule).__name__}, expected a Schedule, as schedule_from_optax or "
            "schedule_from_rates make it"
        )
    step = known_array("step", step, None)
    if np.any(step != np.floor(step)):  # also where it is NaN
        raise ValueError(f"step: got {step[step != np.floor(step)].flat[0]}, expected whole numbers of updates")
    step = step.astype(np.int64)
    outside = (step < 0) | (step > schedule.num_steps)
    if outside.any():
        raise ValueError(
            f"step: got {step[outside].max() if step.ndim else step}, expected 0 to {schedule.num_steps}: the schedule "
            "is shorter than the run; give the learning rate of every update up to the last step"
        )
    known = isinstance(schedule.learning_rate, np.ndarray)
    rates = schedule.learning_rate
    sums = np.cumsum(rates, dtype=np.float64) if known else jnp.cumsum(rates)
    xp = np if known else jnp
    return xp.concatenate([xp.zeros(1, sums.dtype), sums])[step]


def checked_steps(step: ArrayLike) -> np.ndarray:
    """Steps as increasing whole numbers of 0 or above, int64.

    Raises:
        ValueError: they are not; the message names the place and the way out.
    """
    values = known_array("step", step, None)
    if values.ndim != 1 or not values.size:
        raise ValueError(f"step: got shape {values.shape}, expected (rows,) with at least one")
    whole = np.isfinite(values) & (values == np.floor(np.where(np.isfinite(values), values, 0))) & (values >= 0)
    if not whole.all():
        row = int(np.argmin(whole))
        raise ValueError(
            f"step: got {values[row]} in row {row}, expected whole numbers of 0 or above; leave that row out"
        )
    falls = np.flatnonzero(np.diff(values) <= 0)
    if falls.size:
        row = int(falls[0]) + 1
        what = "twice" if values[row] == values[row - 1] else f"after {values[row - 1]:g}"
        raise ValueError(
            f"step: got {values[row]:g} {what} (row {row}), expected increasing steps; sort the rows and keep one of "
            "each step"
        )
    return values.astype(np.int64)
