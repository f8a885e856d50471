"""How sure a predicted gain of one schedule over another is: errors of the laws' parameters, and their misfit."""

import functools
import itertools
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..clock.schedule_rows import History
from .cross_validation import leave_one_run_out
from .interface import ScheduleLaw
from .law_fit import LawFit, LawFitOptions
from .residuals import autocorrelation, independent_rows
from .selection import SizeRuns

#: Rows at the end of a run whose mean is its last loss.
_LAST = 3
#: Runs whose lengths agree to this much are compared at their ends.
_ALIKE = 0.1
#: Draws of parameters, and how far each may go in coordinates (logarithms): beyond, the data do not limit them.
_DRAWS, _REACH = 2000, 3.0


class EndErrors(NamedTuple):
    """How well the last losses of runs are predicted from the other runs.

    Attributes:
        error: (runs,) prediction less measured, nat.
        of_difference: root mean square error of the difference between two runs' last losses, nat.
        pairs: compared for that: those of like length, or all where there are none.
    """

    error: Float[np.ndarray, " runs"]
    of_difference: float
    pairs: int


def end_errors(
    laws: Sequence[ScheduleLaw], strengths: Sequence[float], runs: SizeRuns, options: LawFitOptions
) -> EndErrors:
    """Each run's last loss as predicted by laws fitted to the others."""
    run, loss = np.asarray(runs.run), np.asarray(runs.loss, np.float64)
    predicted = [
        leave_one_run_out(law, runs.history, loss, run, shrinkage=law.shrinkage(x)[None], options=options)[0]
        for law, x in zip(laws, strengths, strict=True)
    ]
    left = np.mean(np.asarray(predicted), axis=0) - loss
    numbers = range(int(run.max()) + 1)
    error = np.array([left[run == number][-_LAST:].mean() for number in numbers])
    last = np.array([np.asarray(runs.history.step)[run == number][-1] for number in numbers])
    pairs = list(itertools.combinations(numbers, 2))
    alike = [(a, b) for a, b in pairs if abs(np.log(last[a] / last[b])) < _ALIKE] or pairs
    return EndErrors(error, float(np.sqrt(np.mean([(error[a] - error[b]) ** 2 for a, b in alike]))), len(alike))


def drawn_losses(
    fits: Sequence[LawFit], runs: SizeRuns, ends: History, key: Array
) -> Float[np.ndarray, "draws schedules"]:
    """Last losses of schedules, averaged over laws, for parameters drawn from the errors of each fit.

    The covariance of a fit is for independent residuals; it is widened by what their correlation from row to row
    leaves of the rows.
    """
    total = 0.0
    counts = jnp.ones(len(runs.loss), bool)
    for fit, own in zip(fits, jax.random.split(key, len(fits)), strict=True):
        left = jnp.log(jnp.asarray(runs.loss)) - jnp.log(fit.predict(runs.history))
        wider = 1 / independent_rows(1, autocorrelation(left, counts))
        # Parameters without an error (on a bound) are taken as known.
        covariance = jnp.where(jnp.isfinite(fit.covariance), fit.covariance, 0.0) * wider
        size, axes = jnp.linalg.eigh(covariance)
        normal = jax.random.normal(own, (_DRAWS, len(size)), covariance.dtype)
        away = (normal * jnp.sqrt(jnp.maximum(size, 0.0))) @ axes.T
        drawn = fit.coordinates + jnp.clip(away, -_REACH, _REACH)
        total = total + _at(fit.law, drawn, ends)
    losses = np.asarray(total) / len(fits)
    return losses[np.all(np.isfinite(losses), axis=1)]


@functools.partial(jax.jit, static_argnums=0)
def _at(law: ScheduleLaw, drawn: Float[Array, "draws p"], ends: History) -> Float[Array, "draws schedules"]:
    return jax.vmap(lambda point: law.predict(law.named(point), ends))(drawn)


def gain_intervals(
    losses: Float[np.ndarray, "draws schedules"], misfit: float, level: float, key: Array
) -> Float[np.ndarray, "2 baselines"]:
    """Ends of the interval of what the first schedule gains over each other one, nat."""
    gains = losses[:, 1:] - losses[:, :1]
    gains = gains + misfit * np.asarray(jax.random.normal(key, gains.shape, gains.dtype))
    return np.quantile(gains, [(1 - level) / 2, (1 + level) / 2], axis=0)


def simplest(
    tried: Mapping[str, int | float],
    losses: Float[np.ndarray, " shapes"],
    drawn: Float[np.ndarray, "draws shapes"],
    misfit: float,
) -> tuple[str, dict[str, tuple[float, float]]]:
    """The simplest shape whose loss is not above the lowest by more than the error of their difference.

    Args:
        tried: of each shape by name, how free it is.
        losses: predicted last loss of each, in the same order, nat.
        drawn: the same for drawn parameters of the laws.
        misfit: error of a difference, nat.

    Returns:
        Its name, and of the shapes with lower losses what they gain over it, with its standard deviation.

    Source: the one-standard-error rule of L. Breiman and others, Classification and Regression Trees (1984).
    """
    names, best = list(tried), int(np.argmin(losses))

    def error(k: int, other: int) -> float:
        return float(np.hypot(np.std(drawn[:, k] - drawn[:, other]), misfit))

    near = [k for k in range(len(names)) if k == best or losses[k] - losses[best] <= error(k, best)]
    chosen = min(near, key=lambda k: (tried[names[k]], losses[k]))
    lower = (k for k in np.argsort(losses, kind="stable") if losses[k] < losses[chosen])
    return names[chosen], {names[k]: (float(losses[chosen] - losses[k]), error(chosen, int(k))) for k in lower}
