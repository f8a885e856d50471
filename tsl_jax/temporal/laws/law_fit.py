"""Fits of the schedule laws: several runs at once, from several starts, robust and shrunk where asked."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float, Int, UInt8

from ...jax_switches import with_own_switches
from ...pytrees import pytree, static
from ..checks import refuse_rising
from ..clock.schedule_rows import History
from .host_search import best_on_host, coordinates_of, robust_rows
from .interface import Params, ScheduleLaw
from .search import best_coordinates, robust


@dataclasses.dataclass(frozen=True)
class LawFitOptions:
    """Options of `fit_law`.

    Args:
        huber: residuals of the log loss beyond this count linearly instead of squared; the authors of the
            multi-power law use 1e-3. ``None`` (default): plain least squares.
        starts: starts refined by Levenberg-Marquardt, the best of a grid.
        max_steps: most steps for each.

    Raises:
        ValueError: an option is outside its range.

    Example:
        >>> LawFitOptions(huber=1e-3).starts
        4
    """

    huber: float | None = None
    starts: int = 4
    max_steps: int = 200

    def __post_init__(self) -> None:
        for name, holds, expected in (
            ("huber", self.huber is None or self.huber > 0, "a positive number or None"),
            ("starts", self.starts >= 1, "at least 1"),
            ("max_steps", self.max_steps >= 1, "at least 1"),
        ):
            if not holds:
                raise ValueError(f"LawFitOptions.{name}: got {getattr(self, name)!r}, expected {expected}")


@pytree
class LawFit:
    """A fitted law; every array gets the leading axes of `vmap`.

    Attributes:
        params: parameters by name, units as the law states.
        stderr: their standard errors (delta method); NaN where the data do not determine a parameter.
        coordinates: (p,) what was searched: logarithms of the parameters, log-odds of fractions.
        covariance: (p, p) of the coordinates, for residuals that are independent between rows. Shrinkage counts as
            information; with Huber's loss the down-weighted rows count less.
        noise: standard deviation of the residuals of the log loss, ``sqrt(rss / (rows - p))``.
        num_points: rows that count.
        status: `Status` of the best start.
        law: what was fitted (static).

    Example:
        >>> from tsl_jax.temporal import TimePowerLaw, fit_law, history, schedule_from_rates
        >>> seen = history(schedule_from_rates(np.full(1000, 1e-3)), np.arange(50, 1001, 50))
        >>> law = TimePowerLaw()
        >>> fit = fit_law(law, seen, law.predict(dict(floor=2.0, coefficient=0.5, exponent=0.4), seen))
        >>> later = history(schedule_from_rates(np.full(8000, 1e-3)), [8000])
        >>> round(float(fit.predict(later)[0]), 2)
        2.22
    """

    params: Params
    stderr: Params
    coordinates: Float[Array, "*batch p"]
    covariance: Float[Array, "*batch p p"]
    noise: Float[Array, "*batch"]
    num_points: Int[Array, "*batch"]
    status: UInt8[Array, "*batch"]
    law: ScheduleLaw = static()

    def predict(self, history: History) -> Float[Array, " rows"]:
        """Mean loss (nat) at each row of a schedule; under `vmap` for batches of fits."""
        return predicted(self.law, self.params, history)

    def predict_error(self, history: History) -> Float[Array, " rows"]:
        """Standard error (nat) of `predict` from the parameters' errors alone: neither noise nor misfit."""

        def mean(coordinates):
            return self.law.predict(self.law.named(coordinates), history)

        slopes = jax.jacfwd(mean)(self.coordinates)
        # Parameters without an error (on a bound) are taken as known.
        covariance = jnp.where(jnp.isfinite(self.covariance), self.covariance, 0.0)
        return jnp.sqrt(jnp.maximum(jnp.sum((slopes @ covariance) * slopes, axis=1), 0.0))


@functools.partial(jax.jit, static_argnums=0)
def predicted(law: ScheduleLaw, params: Params, history: History) -> Float[Array, " rows"]:
    """`ScheduleLaw.predict`, compiled once a law and shape."""
    return law.predict(params, history)


@with_own_switches
def fit_law(
    law: ScheduleLaw,
    history: History,
    loss: Float[Array | np.ndarray, " rows"],
    *,
    weights: Float[Array | np.ndarray, " rows"] | None = None,
    shrinkage: Float[Array | np.ndarray, " p"] | None = None,
    options: LawFitOptions = LawFitOptions(),
) -> LawFit:
    """Fit a schedule law to one run, or jointly to several: `join_histories`, and concatenate their losses.

        ``min Σ_rows w ρ(ln loss - ln law) + Σ_p (strength_p · (coordinate_p - centre_p))²``

    with ρ the square or Huber's loss. ``centre`` is the law's `typical` shape and, for the excess, its value in
    the same law `without_lag`, fitted first: shrinkage prefers the simpler law. Starts: a grid of exponents and
    shapes with the other parameters by linear least squares; the best few by Levenberg-Marquardt. Pure: works under
    `jit`, and `vmap` over losses (bootstrap), weights (folds, origins) and shrinkage.

    Args:
        law: what to fit, such as ``MultiPowerLaw()``.
        history: the schedules' rows.
        loss: (rows,) mean losses, nat, positive.
        weights: (rows,) relative inverse variances of the log loss; 0 leaves a row out, whatever its loss.
        shrinkage: (p,) strengths, see `ScheduleLaw.shrinkage`; ``None``: none.
        options: see `LawFitOptions`.

    Returns:
        `LawFit`.

    Raises:
        ValueError: shapes that disagree, losses that are not positive and finite where the weight is positive, fewer
            rows than parameters + 1, or losses that rise (checked where the values are known).

    Example:
        >>> import optax
        >>> from tsl_jax.temporal import AnnealingLaw, fit_law, history, join_histories, schedule_from_optax
        >>> runs = [optax.cosine_decay_schedule(1e-3, 4000), optax.constant_schedule(1e-3)]
        >>> step = np.arange(200, 4001, 100)
        >>> seen = join_histories([history(schedule_from_optax(rate, 4000), step) for rate in runs])
        >>> truth = dict(floor=2.0, coefficient=1.0, exponent=0.4, excess=100.0, memory=300.0)
        >>> fit = fit_law(AnnealingLaw(), seen, AnnealingLaw().predict(truth, seen))
        >>> round(float(fit.params["memory"]))
        300

    Source: arXiv 2408.11029, 2503.12811.
    """
    check_losses(law, history, loss, weights)
    loss = jnp.asarray(loss)
    dtype = jnp.promote_types(loss.dtype, jnp.float32)
    weights = jnp.ones(loss.shape, dtype) if weights is None else jnp.asarray(weights, dtype)
    shrinkage = None if shrinkage is None or not law.has_excess else jnp.asarray(shrinkage, dtype)
    if not any(isinstance(value, Tracer) for value in jax.tree.leaves((loss, weights, history, shrinkage))):
        return _fit_on_host(law, options, history, loss, weights, shrinkage, dtype)
    history = jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), history)
    return _fit(law, options, history, loss.astype(dtype), weights, shrinkage)


def check_losses(law: ScheduleLaw, history: History, loss, weights=None) -> None:
    """Refuse, where values are known, what no law can be fitted to; see `fit_law`."""
    if np.shape(loss) != (history.num_rows,):
        raise ValueError(f"loss: got shape {np.shape(loss)}, expected one a row of the history, ({history.num_rows},)")
    if weights is not None and np.shape(weights) != np.shape(loss):
        raise ValueError(f"weights: got shape {np.shape(weights)}, expected that of the losses, {np.shape(loss)}")
    if any(isinstance(value, Tracer) for value in jax.tree.leaves((loss, weights, history))):
        return
    counts = np.ones(np.shape(loss), bool) if weights is None else np.asarray(weights) > 0
    values = np.asarray(loss, np.float64)
    bad = np.flatnonzero(counts & ~(np.isfinite(values) & (values > 0)))
    if bad.size:
        raise ValueError(
            f"loss: got {values[bad[0]]} in row {bad[0]}, expected positive finite losses; leave {bad.size} such "
            "row(s) out, or give them weight 0"
        )
    if counts.sum() <= len(law.names):
        raise ValueError(
            f"loss: got {counts.sum()} rows that count for the {len(law.names)} parameters of {law.name}, expected "
            "more rows than parameters; add checkpoints or runs, or fit a simpler law"
        )
    refuse_rising(np.asarray(history.dynamic_time)[counts], values[counts])


def _fit_on_host(law, options, history, loss, weights, shrinkage, dtype) -> LawFit:
    history, loss, weights = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), (history, loss, weights))
    loss, centre = np.where(weights > 0, loss, 1.0), None
    with jax.enable_x64(True):
        if shrinkage is not None:
            shrinkage, simple = np.asarray(shrinkage, np.float64), law.without_lag()
            at_once = best_on_host(simple, options, history, loss, weights, None, None).params
            typical = dict.fromkeys(law.names, 1.0) | law.typical
            centre = coordinates_of(law, typical | {"excess": np.exp(at_once[simple.names.index("excess")])})
        best = best_on_host(law, options, history, loss, weights, centre, shrinkage)
    left = robust_rows(np.log(loss) - best.log_law, options.huber)[0]
    number = np.sum(weights > 0)
    noise = np.sqrt(np.sum(weights * left**2, where=weights > 0) / max(number - len(law.names), 1))
    stderr = {name: np.abs(best.slope[name][i]) * best.stderr[i] for i, name in enumerate(law.names)}
    arrays = best.named, stderr, best.params, best.covariance, noise
    params, stderr, point, covariance, noise = jax.tree.map(lambda value: jnp.asarray(value, dtype), arrays)
    counted, status = jnp.asarray(number, jnp.int32), jnp.asarray(best.status, jnp.uint8)
    return LawFit(params, stderr, point, covariance, noise, counted, status, law)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _fit(law, options, history, loss, weights, shrinkage) -> LawFit:
    loss = jnp.where(weights > 0, loss, 1.0)
    centre = None
    if shrinkage is not None:
        simple = best_coordinates(law.without_lag(), options, history, loss, weights, None, None)
        typical = law.coordinates(dict.fromkeys(law.names, 1.0) | law.typical)
        centre = typical.at[law.names.index("excess")].set(simple.params[law.without_lag().names.index("excess")])
    best = best_coordinates(law, options, history, loss, weights, centre, shrinkage)
    num_points = jnp.sum(weights > 0, dtype=jnp.int32)
    residuals = robust(jnp.log(loss) - jnp.log(law.predict(law.named(best.params), history)), options.huber)
    degrees = jnp.maximum(num_points - len(law.names), 1)
    noise = jnp.sqrt(jnp.sum(jnp.where(weights > 0, weights * residuals**2, 0.0)) / degrees)
    slope = jax.jacfwd(law.named)(best.params)
    stderr = {name: jnp.abs(slope[name][i]) * best.stderr[i] for i, name in enumerate(law.names)}
    return LawFit(law.named(best.params), stderr, best.params, best.covariance, noise, num_points, best.status, law)
