"""The time law, with an honest interval for its exponent."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.scipy.linalg import solve_triangular
from jaxtyping import Array, Bool, Float, Int, UInt8

from ...arguments import is_traced, probability, real_array, real_number
from ...curves import jax_array
from ...devices import a_device
from ...fitting import Status, has_parameters, least_squares
from ...fitting.scaling import normalised
from ...jax_switches import with_own_switches
from ...pytrees import pytree
from ..laws.residuals import autocorrelation
from .exponent_profile import LEAST, MOST, exponent_interval, profile_at
from .law_rows import check_rows
from .slow_noise import RowNoise, row_noise

#: What softmax with cross-entropy predicts for the exponent, arXiv 2602.03685.
THIRD = 1 / 3
#: Logarithm of the largest value of a shape.
_LARGEST = 40.0
_NUM_STARTS = 96
#: Place of the exponent among the sums whose noise is asked for.
_EXPONENT = 2


@pytree
class TimeLaw:
    """``loss = coefficient · a^-exponent + floor``; every array gets the leading axes of `vmap`.

    Attributes:
        params: ``coefficient`` (nat·axis^exponent), ``exponent``, ``floor`` (nat).
        stderr: their standard errors, for noise that is correlated from row to row; NaN for a parameter
            that the data do not determine or that is on a bound.
        exponent_lower: lower end of the profile-likelihood interval of the exponent; 0 where nothing bounds it.
        exponent_upper: upper end; infinite where nothing bounds it.
        determined: whether the losses bound the exponent on both sides and tell the floor from its bound; else there is
            no one law, and the parameters are one of many that fit as well.
        third_p_value: probability of data that disagree as much with an exponent of 1/3, were it true.
        autocorrelation: of neighbouring residuals, 0 or above.
        log_likelihood: of the losses, up to a constant that all axes share, for the most likely noise.
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
    determined: Bool[Array, "*batch"]
    third_p_value: Float[Array, "*batch"]
    autocorrelation: Float[Array, "*batch"]
    log_likelihood: Float[Array, "*batch"]
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
    least_floor: float | None = 0.0,
) -> TimeLaw:
    """Fit ``loss = coefficient · τ^-exponent + floor`` by least squares, with an interval for the exponent.

    The interval holds the exponents whose best fit is not much worse: ``rss(α) <= rss + h²``, with h the distance
    within which the estimate's own sum over the rows lies with the probability asked for. Losses of real runs wander
    from row to row: h comes from models of white noise over a first-order autoregression, as long as the run at most,
    each weighted by its restricted likelihood. Pure: works under `jit` and `vmap`; the parameters are
    differentiable.

    Args:
        dynamic_time: (rows,) sums of the learning rates, positive, such as `lr_sum` gives; or any other axis. Rows in
            the order of training; several runs one after the other.
        loss: (rows,) mean losses, nat.
        weights: (rows,) relative inverse variances; 0 leaves a row out.
        level: of the interval.
        least_floor: lowest floor, nat, 0 for a cross-entropy; ``None``, or a loss below it: none.

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
    check_rows(dynamic_time, loss, weights)
    least = -np.inf if least_floor is None else real_number("least_floor", least_floor, "a number of nats or None")
    a_device()
    axis, loss = jax_array(dynamic_time), jax_array(loss)
    dtype = jnp.promote_types(jnp.promote_types(axis.dtype, loss.dtype), jnp.float32)
    if weights is None:
        return _time_law(axis.astype(dtype), loss.astype(dtype), jnp.ones(loss.shape, dtype), level, least)
    # Relative, and scaled before they are rounded: their unit leaves the range of float32 in nothing but the rss.
    unit = jnp.max(weights) if is_traced(weights) else np.max(np.asarray(weights, np.float64))
    weights = jnp.asarray(weights / jnp.where(unit > 0, unit, 1) if is_traced(weights) else weights / unit, dtype)
    law = _time_law(axis.astype(dtype), loss.astype(dtype), weights, level, least)
    return dataclasses.replace(law, rss=law.rss * jnp.asarray(unit, dtype))


@functools.partial(jax.jit, static_argnums=(3, 4))
def _time_law(axis, loss, weights, level, least) -> TimeLaw:
    counts = weights > 0
    log_axis, loss = jnp.log(jnp.where(counts, axis, 1.0)), jnp.where(counts, loss, 0.0)
    weights = jnp.where(counts, weights, 0.0)
    total = jnp.sum(weights)
    scale = normalised(jnp.max(jnp.abs(loss)))  # else squares of small residuals are 0, and no error is known
    loss, least = loss * scale, least * scale
    # Counted from the geometric mean of the axis and the mean loss, so that float32 resolves the residuals.
    unit, centre = jnp.sum(weights * log_axis) / total, jnp.sum(weights * loss) / total
    x, centred = jnp.where(counts, log_axis - unit, 0.0), jnp.where(counts, loss - centre, 0.0)
    lowest = jnp.where(jnp.min(jnp.where(counts, loss, jnp.inf)) < least, -jnp.inf, least - centre)
    profile = functools.partial(profile_at, x, centred, weights, lowest)

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
        bounds=(_bounds(jnp.log(LEAST), lowest), _bounds(jnp.log(most))),
    )
    exponent = jnp.exp(fit.params["log_exponent"])
    coefficient = fit.params["amplitude"] / scale * jnp.exp(exponent * unit)
    # Order of the covariance: amplitude, floor, log_exponent (names sorted, as in any pytree of a dict).
    relative = jnp.array([1 / fit.params["amplitude"], 0.0, exponent * unit])
    # Of what follows only the parameters have derivatives: quantiles and crossings have none in their degrees.
    noise = lax.stop_gradient(_noise(fit.params, x, centred, weights, relative))
    left = lax.stop_gradient(_residual(fit.params, x, centred))
    white = jnp.sqrt(fit.rss / jnp.maximum(fit.num_points - 3, 1))
    wider = noise.deviation() / jnp.where(white > 0, white, 1.0)
    lower, upper = exponent_interval(
        profile, lax.stop_gradient(exponent), most, fit.rss + noise.half_width(level, _EXPONENT) ** 2
    )
    determined = (lower > 0) & jnp.isfinite(upper) & (fit.status == Status.CONVERGED)
    determined &= profile(lower)[2] > lowest
    beyond = lax.stop_gradient(jnp.sqrt(jnp.maximum(profile(THIRD)[0] - fit.rss, 0.0)))
    spread = jnp.abs(coefficient) * jnp.sqrt(jnp.maximum(relative @ fit.covariance @ relative, 0.0))
    params = {"coefficient": coefficient, "exponent": exponent, "floor": (fit.params["floor"] + centre) / scale}
    errors = {
        "coefficient": wider[0] * spread,
        "exponent": wider[_EXPONENT] * fit.stderr["log_exponent"] * exponent,
        "floor": wider[1] * fit.stderr["floor"] / scale,
    }
    rss = fit.rss / scale / scale
    too_large = has_parameters(fit.status) & ~(jnp.isfinite(coefficient) & jnp.isfinite(rss))
    return TimeLaw(
        {name: jnp.where(too_large, jnp.nan, value) for name, value in params.items()},
        {name: jnp.where(too_large, jnp.nan, _finite(error)) for name, error in errors.items()},
        lax.stop_gradient(lower),
        lax.stop_gradient(upper),
        lax.stop_gradient(determined & ~too_large),
        noise.probability(beyond, _EXPONENT),
        autocorrelation(left, counts),
        noise.log_likelihood,
        _finite(rss),
        1 - fit.rss / jnp.sum(weights * (loss - centre) ** 2),
        fit.num_points,
        jnp.where(too_large, Status.NON_FINITE, fit.status).astype(fit.status.dtype),
    )


def _finite(value):
    return jnp.where(jnp.isfinite(value), value, jnp.nan)


def _noise(params, x, centred, weights, slope) -> RowNoise:
    """Noise of the coefficient, the floor and the exponent, each as a sum over the rows of weights with norm 1."""
    root = jnp.sqrt(weights)
    shape = jnp.exp(-jnp.exp(params["log_exponent"]) * x)
    bend = -params["amplitude"] * jnp.exp(params["log_exponent"]) * x * shape
    columns, corner = jnp.linalg.qr(root[:, None] * jnp.stack([shape, jnp.ones_like(x), bend], axis=1))
    gradients = jnp.stack([slope, jnp.array([0.0, 1.0, 0.0], x.dtype), jnp.array([0.0, 0.0, 1.0], x.dtype)])
    places = solve_triangular(corner.T, gradients.T, lower=True)
    places = places / jnp.sqrt(jnp.sum(places**2, axis=0))
    # What the columns do not determine is taken as the direction that they determine least.
    places = jnp.where(jnp.isfinite(places), places, jnp.array([0.0, 0.0, 1.0], x.dtype)[:, None])
    return row_noise(columns, root * _residual(params, x, centred), columns @ places, weights > 0)


def _residual(params, x, centred):
    return params["amplitude"] * jnp.exp(-jnp.exp(params["log_exponent"]) * x) + params["floor"] - centred


def _bounds(log_exponent, floor=None):
    return {"floor": floor, "amplitude": None, "log_exponent": log_exponent}
