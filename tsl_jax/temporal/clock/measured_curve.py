"""A loss curve: steps, losses and learning rates of one run."""

import jax
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int

from ...pytrees import pytree
from .dynamic_time import Schedule, checked_steps, schedule_from_records
from .schedule_rows import History, history


@pytree
class LossCurve:
    """One run's losses over training; made by `loss_curve`, which checks them.

    Attributes:
        step: (rows,) updates done, increasing.
        loss: (rows,) mean loss at each, nat.
        learning_rate: (rows,) rate of the update that follows each row, or None where it was not recorded.

    Example:
        >>> curve = loss_curve([100, 200, 300], [5.0, 4.0, 3.5], [1e-3, 1e-3, 1e-3])
        >>> curve.until(200).history(warmup_steps=100).dynamic_time.round(4).tolist()
        [0.0495, 0.1495]
    """

    step: Int[Array | np.ndarray, " rows"]
    loss: Float[Array | np.ndarray, " rows"]
    learning_rate: Float[Array | np.ndarray, " rows"] | None = None

    def schedule(self, *, warmup_steps: int | None = None) -> Schedule:
        """The schedule behind the rows, see `schedule_from_records`.

        Raises:
            ValueError: the learning rate was not recorded, or a warm-up that has to be given was not.
        """
        if self.learning_rate is None:
            raise ValueError(
                "learning_rate: this curve has none; give the schedule by schedule_from_optax or schedule_from_rates"
            )
        return schedule_from_records(self.step, self.learning_rate, warmup_steps=warmup_steps)

    def history(self, schedule: Schedule | None = None, *, warmup_steps: int | None = None) -> History:
        """What schedule laws read at each row, see `history`; from a schedule given, or from the recorded rates."""
        return history(schedule or self.schedule(warmup_steps=warmup_steps), self.step)

    def until(self, step: int) -> "LossCurve":
        """The rows up to a step, such as the part that a forecast may see."""
        return jax.tree.map(lambda leaf: leaf[self.step <= step], self)


def loss_curve(step: ArrayLike, loss: ArrayLike, learning_rate: ArrayLike | None = None) -> LossCurve:
    """A checked loss curve.

    Args:
        step: (rows,) updates done, increasing whole numbers.
        loss: (rows,) mean loss at each, nat, positive.
        learning_rate: (rows,) rate of the update that follows each row, or None.

    Returns:
        `LossCurve` of NumPy arrays.

    Raises:
        ValueError: shapes that disagree, steps that do not increase, losses that are not positive and finite, or rates
            that are not finite or negative.

    Example:
        >>> curve = loss_curve([0, 100, 200], [8.0, 5.0, 4.0], [1e-3, 1e-3, 1e-3])
        >>> curve.schedule().num_steps
        200
    """
    step, loss = checked_steps(step), np.asarray(loss, np.float64)
    if loss.shape != step.shape:
        raise ValueError(f"loss: got shape {loss.shape}, expected one a step, {step.shape}")
    _check_rows("loss", loss, np.isfinite(loss) & (loss > 0), "a positive finite loss")
    if learning_rate is None:
        return LossCurve(step, loss)
    rate = np.asarray(learning_rate, np.float64)
    if rate.shape != step.shape:
        raise ValueError(f"learning_rate: got shape {rate.shape}, expected one a step, {step.shape}")
    _check_rows("learning_rate", rate, np.isfinite(rate) & (rate >= 0), "a finite rate of 0 or above")
    return LossCurve(step, loss, rate)


def _check_rows(name, values, good, expected) -> None:
    if not good.all():
        row = int(np.argmin(good))
        raise ValueError(f"{name}: got {values[row]} in row {row}, expected {expected}; leave the row out")
