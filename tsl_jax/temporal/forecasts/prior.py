"""What finished runs say about what annealing brings: a prior for runs that have not annealed yet."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ...jax_switches import with_own_switches
from .law_posterior import EXPONENTS, PriorNumbers, Rows, posterior
from .mean_loss import DEFAULT_PRIOR, ForecastPrior
from .rows import LAWS, Times, checked_curve, law_rows, rates_of, thinned

#: Least standard deviations that a few runs can give, as shares of the mean (gain) and of 1 (logarithm of the
#: exponent): the next run may be of another size or schedule.
_LEAST_GAIN, _LEAST_EXPONENT = 0.15, 0.15
#: Standard deviations with which the finished runs are fitted, so wide that each says what it shows and nothing else,
#: and how much their slope may drift (nat): no law is exact, and a run whose law has no room to err claims too much of
#: its gain.
_WIDE_GAIN, _WIDE_EXPONENT, _WIDE_DRIFT = 0.5, 1.0, 0.01


@with_own_switches
def prior_from_runs(runs: Sequence[Mapping[str, Any]], prior: ForecastPrior = DEFAULT_PRIOR) -> ForecastPrior:
    """Replaces the prior of the gain and of the exponent by what other, finished runs show.

    Each run is fitted by the multi-power law. Runs count as draws from a family with a scatter of its own (random
    effects), which is the standard deviation of the next run's gain and exponent.

    Args:
        runs: of each a mapping with ``step``, ``loss`` and ``learning_rate``, the rates of all updates.
        prior: of these fits, and of everything that is not replaced.

    Returns:
        `ForecastPrior`.

    Raises:
        ValueError: no run, or one without learning rates or that `forecast` would refuse.

    Example:
        >>> import numpy as np
        >>> from tsl_jax.temporal import ForecastPrior, prior_from_runs
        >>> step = np.arange(50.0, 2001.0, 50.0)
        >>> rate = np.where(np.arange(2000) < 1000, 1.0, 0.1)
        >>> loss = 3 + 20 * (np.cumsum(rate)[step.astype(int) - 1]) ** -0.5 - 0.2 * 0.9 * (step > 1000)
        >>> prior = prior_from_runs([{"step": step, "loss": loss, "learning_rate": rate}])
        >>> prior.gain > ForecastPrior().gain
        True
    """
    if not runs:
        raise ValueError("runs: got none, expected at least one finished run")
    stds = {"gain_std": _WIDE_GAIN, "exponent_std": _WIDE_EXPONENT, "drift": _WIDE_DRIFT}
    wide = dataclasses.replace(prior, **stds)
    found = [_fitted(run, number, wide) for number, run in enumerate(runs)]
    (gain, gain_std), (exponent, exponent_std) = (_pooled(np.asarray(each)) for each in zip(*found, strict=True))
    return dataclasses.replace(
        prior,
        gain=float(gain),
        gain_std=float(np.hypot(gain_std, _LEAST_GAIN * abs(gain))),
        exponent=float(np.exp(exponent)),
        exponent_std=float(np.hypot(exponent_std, _LEAST_EXPONENT)),
    )


def _fitted(run: Mapping[str, Any], number: int, prior: ForecastPrior):
    """Mean and standard deviation of the gain and of the logarithm of the exponent in one run."""
    if run.get("learning_rate") is None:
        raise ValueError(f"runs[{number}]: has no learning rates, expected a run whose schedule is known")
    last = float(np.max(np.asarray(run["step"], np.float64)))
    step, loss, _ = checked_curve(run["step"], run["loss"], np.asarray([last + 1]))
    step, loss = thinned(step, loss)
    times = Times.of(step, np.asarray([last]))
    rows = law_rows(LAWS[-1:], times.step[: times.num_seen], rates_of(run["learning_rate"], last))
    values = np.pad(loss, (0, times.num_seen - len(loss)))
    as_floats = jax.tree.map(lambda a: jnp.asarray(a, jnp.float32), (rows, values, times.seen[: times.num_seen]))
    of_prior = PriorNumbers(**{name: jnp.float32(value) for name, value in dataclasses.asdict(prior).items()})
    return _moments(*as_floats, of_prior)


@jax.jit
def _moments(rows: Rows, loss, known, prior: PriorNumbers):
    found = posterior(jax.tree.map(lambda a: a[0], rows), loss, known, prior)
    fraction = jnp.exp(found.log_weight)
    gain = found.mean[..., 3]
    exponent = jnp.log(jnp.asarray(EXPONENTS, loss.dtype))[:, None, None]

    def moments(value, variance):
        mean = jnp.sum(fraction * value)
        return mean, jnp.sqrt(jnp.sum(fraction * (variance + jnp.square(value - mean))))

    return moments(gain, jnp.sum(jnp.square(found.factor[..., 3, :]), axis=-1)), moments(exponent + 0 * gain, 0.0)


def _pooled(each: np.ndarray) -> tuple[float, float]:
    """Mean and standard deviation of the next run's value, from (runs, 2) means and standard errors.

    The scatter between runs is the one at which the weighted squares add up to their degrees of freedom.

    Source: R. C. Paule and J. Mandel, J. Res. Natl. Bur. Stand. 87 (1982).
    """
    value, error = each.T
    low, high = 0.0, float(np.ptp(value)) ** 2

    def at(between: float) -> tuple[float, float]:
        weight = 1 / (np.square(error) + between)
        mean = np.sum(weight * value) / np.sum(weight)
        return float(mean), float(np.sum(weight * np.square(value - mean)))

    if at(low)[1] > len(value) - 1:
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (middle, high) if at(middle)[1] > len(value) - 1 else (low, middle)
    else:
        high = 0.0
    mean = at(high)[0]
    return mean, float(np.sqrt(high + 1 / np.sum(1 / (np.square(error) + high))))
