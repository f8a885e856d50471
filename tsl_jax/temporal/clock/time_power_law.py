"""The time law, with an honest interval for its exponent."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int, UInt8

from ...arguments import is_traced, probability, real_array
from ...curves import jax_array
from ...devices import a_device
from ...fitting import least_squares
from ...jax_switches import with_own_switches
from ..checks import refuse_rising
from ..distributions import f_tail, student_quantile
from ..laws.residuals import autocorrelation, independent_rows
from .exponent_profile import LEAST, MOST, exponent_interval, profile_at

#: What softmax with cross-entropy predicts for the exponent, arXiv 2602.03685.
THIRD = 1 / 3
#: Logarithm of the largest value of a shape.
_LARGEST = 40.0
_NUM_STARTS = 96


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class TimeLaw:
    """``loss = coefficient · a^-exponent + floor``; every array gets the leading axes of `vmap`.

    Attributes:
        params: ``coefficient`` (nat·axis^exponent), ``exponent``, ``floor`` (nat).
        stderr: their standard errors, widened for residuals that are correlated from row to row; NaN for a parameter
            that the data do not determine or that is on a bound.
        exponent_lower: lower end of the profile-likelihood interval of the exponent; 0 where nothing bounds it.
        exponent_upper: upper end; infinite where nothing bounds it.
        third_p_value: probability of data that disagree as much with an exponent of 1/3, were it true.
        autocorrelation: of neighbouring residuals, ρ >= 0; n rows count as ``n·(1 - ρ)/(1 + ρ)`` independent ones.
        rss: (weighted) sum of squared residuals, nat².
        r2: ``1 - rss / (sum of squares around the mean)``.
        num_points: rows that count.
        status: `Status`.

    Example:
        >>> import jax.numpy as jnp
        >>> tau = jnp.geomspace(0.1, 10.0, 100)
        >>> law = time_law(tau, 0.5 * tau**-0.33 + 3.0 + 1e-3 * jnp.sin(40 * tau))
        >>> round(float(law.predict(100.0)), 2)
        3.11
    """

    params: dict[str, Float[Array, "*batch"]]
    stderr: dict[str, Float[Array, "*batch"]]
    exponent_lower: Float[Array, "*batch"]
    exponent_upper: Float[Array, "*batch"]
    third_p_value: Float[Array, "*batch"]
    autocorrelation: Float[Array, "*batch"]
    rss: Float[Array, "*batch"]
    r2: Float[Array, "*batch"]
    num_points: Int[Array, "*batch"]
    status: UInt8[Array, "*batch"]

    @with_own_switches
    def predict(self, axis: Float[Array, " times"]) -> Float[Array, " times"]:
        """The loss (nat) at values of the axis."""
        return self.params["coefficient"] * jax_array(axis) ** -self.params["exponent"] + self.params["floor"]


@with_own_switches
def time_law(
    dynamic_time: Float[Array | np.ndarray, " rows"],
    loss: Float[Array | np.ndarray, " rows"],
    *,
    weights: Float[Array | np.ndarray, " rows"] | None = None,
    level: float = 0.95,
) -> TimeLaw:
    """Fit ``loss = coefficient · τ^-exponent + floor`` by least squares, with an interval for the exponent.

    The interval holds the exponents whose best fit is not much worse: ``rss(α) <= rss (1 + t²/ν)`` with t Student's
    quantile for ν degrees of freedom. Residuals of real curves are correlated from row to row; the widths allow for
    it by the lag-1 autocorrelation. Pure: works under `jit` and `vmap`; the parameters are differentiable.

    Args:
        dynamic_time: (rows,) sums of the learning rates, positive, such as `lr_sum` gives; or any other axis. Rows in
            the order of training; several runs one after the other.
        loss: (rows,) mean losses, nat.
        weights: (rows,) relative inverse variances; 0 leaves a row out.
        level: of the interval.

    Returns:
        `TimeLaw`.

    Raises:
        TypeError: an argument holds no real numbers.
        ValueError: shapes that disagree, an axis that is not positive, losses that are not finite, negative weights,
            fewer than 5 rows that count, or losses that rise (checked where the values are known).

    Example:
        >>> import jax.numpy as jnp
        >>> tau = jnp.geomspace(0.1, 10.0, 100)
        >>> law = time_law(tau, 0.5 * tau**-0.33 + 3.0 + 1e-3 * jnp.sin(40 * tau))
        >>> bool(law.exponent_lower < 0.33) and bool(law.exponent_upper > 0.33)
        True

    Source: arXiv 2602.03685.
    """
    level = probability("level", level, "0.95")
    dynamic_time, loss = real_array("dynamic_time", dynamic_time), real_array("loss", loss)
    weights = None if weights is None else real_array("weights", weights, boolean=True)
    _check(dynamic_time, loss, weights)
    a_device()
    axis, loss = jax_array(dynamic_time), jax_array(loss)
    dtype = jnp.promote_types(jnp.promote_types(axis.dtype, loss.dtype), jnp.float32)
    if weights is None:
        return _time_law(axis.astype(dtype), loss.astype(dtype), jnp.ones(loss.shape, dtype), level)
    # Relative, and scaled before they are rounded: their unit leaves the range of float32 in nothing but the rss.
    unit = jnp.max(weights) if is_traced(weights) else np.max(np.asarray(weights, np.float64))
    weights = jnp.asarray(weights / jnp.where(unit > 0, unit, 1) if is_traced(weights) else weights / unit, dtype)
    law = _time_law(axis.astype(dtype), loss.astype(dtype), weights, level)
    return dataclasses.replace(law, rss=law.rss * jnp.asarray(unit, dtype))


def _check(axis, loss, weights) -> None:
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
    different = len(np.unique(axis.astype(np.float32)))
    if different < 4 and jnp.result_type(float) == jnp.float32:
        raise ValueError(
            f"dynamic_time: has {different} different value(s) in float32, expected at least 4; count it from another "
            "start, or switch on float64 with jax.config.update('jax_enable_x64', True)"
        )
    refuse_rising(axis, loss)


@functools.partial(jax.jit, static_argnums=3)
def _time_law(axis, loss, weights, level) -> TimeLaw:
    counts = weights > 0
    log_axis, loss = jnp.log(jnp.where(counts, axis, 1.0)), jnp.where(counts, loss, 0.0)
    weights = jnp.where(counts, weights, 0.0)
    total = jnp.sum(weights)
    # Counted from the geometric mean of the axis and the mean loss, so that float32 resolves the residuals.
    unit, centre = jnp.sum(weights * log_axis) / total, jnp.sum(weights * loss) / total
    x = jnp.where(counts, log_axis - unit, 0.0)
    profile = functools.partial(profile_at, x, jnp.where(counts, loss - centre, 0.0), weights)

    # Steeper shapes than this would overflow when squared.
    most = jnp.minimum(MOST, _LARGEST / jnp.max(jnp.abs(x)))
    exponents = jnp.exp(jnp.linspace(jnp.log(LEAST), jnp.log(most), _NUM_STARTS)).astype(x.dtype)
    nearest = exponents[jnp.argmin(jax.vmap(lambda exponent: profile(exponent)[0])(exponents))]
    _, amplitude, floor = profile(nearest)
    fit = least_squares(
        _residual,
        {"floor": floor, "amplitude": amplitude, "log_exponent": jnp.log(nearest)},
        *(x, loss - centre),
        weights=weights,
        bounds=(_bounds(jnp.log(LEAST)), _bounds(jnp.log(most))),
    )
    left = _residual(fit.params, x, loss - centre)
    # Of what follows only the parameters have derivatives: quantiles and crossings have none in their degrees.
    correlation = lax.stop_gradient(autocorrelation(left, counts))
    degrees = jnp.maximum(independent_rows(fit.num_points, correlation) - 3, 1.0)
    wider = jnp.sqrt((fit.num_points - 3) / degrees)

    exponent = jnp.exp(fit.params["log_exponent"])
    variance = jnp.maximum(fit.rss / degrees, jnp.finfo(x.dtype).tiny)
    lower, upper = exponent_interval(
        profile, lax.stop_gradient(exponent), most, fit.rss + variance * student_quantile(level, degrees) ** 2
    )
    statistic = lax.stop_gradient(jnp.maximum(profile(THIRD)[0] - fit.rss, 0.0) / variance)
    coefficient = fit.params["amplitude"] * jnp.exp(exponent * unit)
    # Order of the covariance: amplitude, floor, log_exponent (names sorted, as in any pytree of a dict).
    slope = jnp.array([1 / fit.params["amplitude"], 0.0, exponent * unit]) * coefficient
    spread = jnp.sqrt(jnp.maximum(slope @ fit.covariance @ slope, 0.0))
    return TimeLaw(
        {"coefficient": coefficient, "exponent": exponent, "floor": fit.params["floor"] + centre},
        {
            "coefficient": wider * spread,
            "exponent": wider * fit.stderr["log_exponent"] * exponent,
            "floor": wider * fit.stderr["floor"],
        },
        lax.stop_gradient(lower),
        lax.stop_gradient(upper),
        f_tail(statistic, 1.0, degrees),
        correlation,
        fit.rss,
        1 - fit.rss / jnp.sum(weights * (loss - centre) ** 2),
        fit.num_points,
        fit.status,
    )


def _residual(params, x, centred):
    return params["amplitude"] * jnp.exp(-jnp.exp(params["log_exponent"]) * x) + params["floor"] - centred


def _bounds(log_exponent):
    return {"floor": None, "amplitude": None, "log_exponent": log_exponent}
