"""Laws of a tail on bins: maximum likelihood for exponential families, many tails at once."""

import jax
import numpy as np
from jaxtyping import Array, Float

from ...linalg.known import module_of
from ..pulses import product

#: Newton steps for each statistic, and the longest of them in units in which a statistic spans 1 over the tail:
#: enough for exponents of up to 12 over a tail of e^5.
_STEPS, _LONGEST = 20, 4.0

#: Of each law over ln(a): the log of the base measure and the sufficient statistics, from y = ln(a / a_last) ≤ 0.
LAWS = {
    "power law": lambda y: (0 * y, [y]),
    "exponential": lambda y: (y, [module_of(y).exp(y)]),
    "lognormal": lambda y: (0 * y, [y, y**2]),
}


def power_law_on_bins(exponent: Array, y: Float[Array, " bins"], log_width: Array, tail: Array) -> Array:
    """Log probabilities (bins,) of ``a^-exponent`` truncated to a tail, 0 outside it; see `law_on_bins`."""
    xp = module_of(y)
    log_p = _log_softmax(xp.where(tail, (1 - exponent) * y + log_width, -xp.inf))
    return xp.where(tail, log_p, 0)


def _log_softmax(values):
    if not isinstance(values, np.ndarray):
        return jax.nn.log_softmax(values)
    values = values - np.max(values)
    return values - np.log(np.sum(np.exp(values)))


def law_on_bins(
    law: str, masses: Float[Array, " bins"], y: Float[Array, " bins"], log_width: Float[Array, " bins"], tail: Array
) -> tuple[Float[Array, " bins"], Float[Array, " statistics"]]:
    """Fit a law to the masses of a tail by maximum likelihood, truncated to that tail.

    The log-likelihood of an exponential family is concave: Newton's method with bounded steps finds its maximum.

    Args:
        law: one of `LAWS`.
        masses: (bins,) events or drops; only their proportions in the tail matter.
        y: (bins,) ln(a / a_last) at the bins' centres.
        log_width: (bins,) log of the bins' widths in ln(a).
        tail: (bins,) which bins belong to the tail.

    Returns:
        Log probabilities of the bins (0 outside the tail), and the natural parameters, of the law's statistics.
    """
    xp = module_of(y)
    base, statistics = LAWS[law](y)
    inside = xp.stack(statistics)
    low = xp.min(xp.where(tail, inside, xp.inf), 1, keepdims=True)
    high = xp.max(xp.where(tail, inside, -xp.inf), 1, keepdims=True)
    span = xp.where(high > low, high - low, 1)
    scaled = xp.where(tail, (inside - low) / span, 0)
    masses = xp.where(tail, masses, 0)
    fraction = masses / xp.maximum(xp.sum(masses), 1e-30)
    mean = product(scaled, fraction)
    offset = xp.where(tail, base + log_width, -xp.inf)

    def log_p(theta):
        return _log_softmax(offset + product(theta, scaled))

    def step(theta, _):
        p = xp.exp(log_p(theta))
        expected = product(scaled, p)
        centred = scaled - expected[:, None]
        information = product(centred * p, centred.T)
        # Nearly dependent statistics (y and y² over a short tail): a little of the identity keeps the step finite.
        information = information + 1e-7 * xp.eye(len(theta))
        gap = mean - expected
        move = gap / information[0] if len(statistics) == 1 else _solve_two(information, gap)
        return theta + move * xp.minimum(1, _LONGEST / xp.maximum(xp.max(xp.abs(move)), 1e-30)), None

    theta, number = xp.zeros(len(statistics)), _STEPS * len(statistics)
    if xp is np:
        for _ in range(number):
            theta, _ = step(theta, None)
    else:
        theta, _ = jax.lax.scan(step, theta, length=number)
    return xp.where(tail, log_p(theta), 0), theta / span[:, 0]


def _solve_two(matrix: Float[Array, "2 2"], right: Float[Array, " 2"]) -> Float[Array, " 2"]:
    """Elimination of two unknowns, written out: a general one would be most of the program."""
    xp = module_of(matrix)
    ratio = matrix[0, 1] / matrix[0, 0]
    second = (right[1] - ratio * right[0]) / xp.maximum(matrix[1, 1] - ratio * matrix[0, 1], 1e-7)
    return xp.stack([(right[0] - matrix[0, 1] * second) / matrix[0, 0], second])
