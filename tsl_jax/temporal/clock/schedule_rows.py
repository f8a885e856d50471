"""The learning rates before each checkpoint, in the compressed form that the schedule-aware laws read."""

import dataclasses
from collections.abc import Sequence

import jax
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from ...pytrees import pytree
from .dynamic_time import Schedule, checked_steps, lr_sum

#: Rates below this multiple of the highest count as this: laws take logarithms.
_LEAST_RATE = 1e-9
#: Changes below this multiple of the highest rate are rounding.
_LEAST_RISE = 1e-13
#: Groups are padded to a multiple of this, so that schedules of one kind share compiled code.
_GROUP_MULTIPLE = 32
#: A group that a row lacks: it rises by 0, and is finite in every law.
_PADDING = {"rise": 0.0, "log_rate": 0.0, "log_time": 0.0, "updates": 1.0}


@pytree
class History:
    """What the schedule-aware laws need to know at each row (a checkpoint of a run): one row, one loss.

    The sums of the laws run over every earlier change of the learning rate, from 0 before the first update on. Here
    changes of nearly equal rate, distance and sign are one group: `rise` sums them, the other three arrays hold
    their means, weighted by size. Made by `history`; `join_histories` puts the rows of several runs below each
    other, and indexing takes rows.

    Attributes:
        step: (rows,) updates done.
        dynamic_time: (rows,) sum of the learning rates.
        learning_rate: (rows,) rate of the last update.
        peak: (rows,) highest rate of the whole schedule.
        rise: (rows, groups) sum of the changes ``η_k - η_(k-1)`` in a group; 0 where a row has fewer groups.
        log_rate: (rows, groups) ln of the rate changed to, ``η_k``.
        log_time: (rows, groups) ln of the dynamic time since, ``η_k + ... + η_t``.
        updates: (rows, groups) updates since, ``t - k + 1``.

    Example:
        >>> from tsl_jax.temporal import history, schedule_from_rates
        >>> seen = history(schedule_from_rates([0.1, 0.1, 0.1, 0.05]), [2, 4])
        >>> seen.rise[:, :2].tolist()
        [[0.1, 0.0], [0.1, -0.05]]
    """

    step: Float[Array | np.ndarray, " rows"]
    dynamic_time: Float[Array | np.ndarray, " rows"]
    learning_rate: Float[Array | np.ndarray, " rows"]
    peak: Float[Array | np.ndarray, " rows"]
    rise: Float[Array | np.ndarray, "rows groups"]
    log_rate: Float[Array | np.ndarray, "rows groups"]
    log_time: Float[Array | np.ndarray, "rows groups"]
    updates: Float[Array | np.ndarray, "rows groups"]

    @property
    def num_rows(self) -> int:
        """Rows, over all runs."""
        return self.step.shape[0]

    def __getitem__(self, rows) -> "History":
        return jax.tree.map(lambda leaf: leaf[rows], self)


def history(schedule: Schedule, step: ArrayLike, *, resolution: float = 0.25) -> History:
    """The schedule as seen from each step, in time linear in updates and rows.

    A law's sum over changes then costs ``rows x groups`` instead of ``rows x updates``, with about
    ``log(updates) / resolution`` groups. Within a group rate, dynamic time and updates since differ by less than
    ``exp(resolution)``; as its means stand for it, the error of a smooth law is of second order: below 2e-4 of the
    sum at 0.25, and a quarter of that at half of it.

    Args:
        schedule: learning rate of every update.
        step: (rows,) updates done, increasing whole numbers from 1 on.
        resolution: width of a group, in natural logarithms.

    Returns:
        `History` of NumPy float64 arrays, one row a step.

    Raises:
        ValueError: steps that do not increase, before the first rate above 0, or beyond the schedule; a resolution that
            is not positive.

    Example:
        >>> import optax
        >>> from tsl_jax.temporal import history, schedule_from_optax
        >>> cosine = optax.warmup_cosine_decay_schedule(0.0, 1e-3, 1000, 50_000)
        >>> seen = history(schedule_from_optax(cosine, 50_000), [10_000, 50_000])
        >>> seen.rise.shape[1]
        224
    """
    step = checked_steps(step)
    if step[0] == 0:
        raise ValueError("step: got 0, where no learning rate has been used yet; leave the loss before training out")
    if not resolution > 0:
        raise ValueError(f"resolution: got {resolution}, expected a positive number, such as 0.25")
    time = np.asarray(lr_sum(schedule, step))
    if not time[0] > 0:
        raise ValueError(f"step: got {step[0]}, by which all rates were 0; leave rows out until training has begun")
    rate = np.asarray(schedule.learning_rate, np.float64)
    changes = [_Changes(rate, sign) for sign in (1, -1)]
    rows = [
        [np.concatenate(column) for column in zip(*(c.groups(int(t), resolution) for c in changes), strict=True)]
        for t in step
    ]
    widest = -(-max(len(row[0]) for row in rows) // _GROUP_MULTIPLE) * _GROUP_MULTIPLE
    groups = {
        name: np.stack([np.pad(row[i], (0, widest - len(row[i])), constant_values=value) for row in rows])
        for i, (name, value) in enumerate(_PADDING.items())
    }
    return History(step.astype(np.float64), time, rate[step - 1], np.full(len(step), rate.max()), **groups)


def join_histories(histories: Sequence[History]) -> History:
    """The rows of several runs below each other, for a law that all of them share.

    Args:
        histories: one `History` a run.

    Returns:
        `History` with all rows, in the order given.

    Raises:
        ValueError: there are none.

    Example:
        >>> from tsl_jax.temporal import history, join_histories, schedule_from_rates
        >>> seen = history(schedule_from_rates(np.full(10, 0.1)), [2, 4])
        >>> join_histories([seen, seen]).num_rows
        4
    """
    if not histories:
        raise ValueError("histories: got none, expected one a run")
    widest = max(part.rise.shape[1] for part in histories)

    def column(field):
        parts = [getattr(part, field.name) for part in histories]
        if parts[0].ndim == 2:
            value = _PADDING[field.name]
            parts = [np.pad(p, ((0, 0), (0, widest - p.shape[1])), constant_values=value) for p in parts]
        return np.concatenate(parts)

    return History(**{field.name: column(field) for field in dataclasses.fields(History)})


class _Changes:
    """Changes of the learning rate of one sign (so that weighted means lie inside a group), with their running sums."""

    def __init__(self, rate, sign: int):
        rise = np.diff(rate, prepend=0.0)
        self.total = np.concatenate([[0.0], np.cumsum(rate)])
        self.update = np.flatnonzero(rise * sign > _LEAST_RISE * rate.max()) + 1
        self.before = self.total[self.update - 1]  # dynamic time before the changed rate was first used
        self.log_rate = np.log(np.maximum(rate, _LEAST_RATE * rate.max()))[self.update - 1]
        rise = rise[self.update - 1]
        columns = (rise, rise * self.log_rate, rise * self.before, rise * self.update)
        self.sums = np.concatenate([np.zeros((4, 1)), np.cumsum(columns, axis=1)], axis=1)

    def groups(self, step: int, width: float):
        """``rise, log_rate, log_time, updates`` of the groups seen from one step."""
        seen = int(np.searchsorted(self.update, step, side="right"))
        if not seen:
            return (np.zeros(0),) * 4
        now = self.total[step]
        log_rate = np.floor(self.log_rate[:seen] / width)
        edges = [[0, seen], np.flatnonzero(np.diff(log_rate)) + 1]
        for place, end in ((self.before[:seen], now), (self.update[:seen], step + 1)):
            edges.append(np.searchsorted(place, end - _distances(end - place[[0, -1]], width)))
        edges = np.unique(np.concatenate(edges))
        size, log_rate, before, update = np.diff(self.sums[:, edges], axis=1)
        # After a rate of 0 no time has passed since: a time too short to matter for any law stands for it.
        time = np.maximum(now - before / size, _LEAST_RATE * now)
        return size, log_rate / size, np.log(time), step + 1 - update / size


def _distances(ends, width):
    """Distances between two ends, each a factor ``exp(width)`` above the one before."""
    farthest, nearest = ends
    if farthest <= 0:
        return np.zeros(0)
    nearest = max(nearest, _LEAST_RATE * farthest)
    return np.exp(width * np.arange(np.ceil(np.log(nearest) / width), np.log(farthest) / width))
