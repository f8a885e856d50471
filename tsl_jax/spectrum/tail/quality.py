"""How good a tail's power law is: goodness of fit, and laws it competes with."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ...jax_switches import with_own_switches
from ...linalg.known import compiled, module_of
from ...pytrees import pytree
from ..decomposition import moments_of
from ..statistic import Moments, Spectrum
from .fit import Tail, cuts_of, fit_cut_tail, log_axis, tail_of_masses
from .many import tails_of_rows
from .masses import Cuts, falling, seen_until
from .models import LAWS, law_on_bins, power_law_on_bins

#: Above this mean a Poisson number is drawn as a rounded normal one.
_MANY = 1e5


@with_own_switches
def tail_goodness(
    spectrum: Spectrum | Moments,
    key: Array,
    *,
    lower: float | None = None,
    upper: float | None = None,
    seen: float = 0.9,
    least_events: int = 50,
    replicates: int = 200,
) -> Float[Array, ""]:
    """Probability of a worse fit if the tail were a power law, by parametric bootstrap.

    Each replicate draws events from the fitted law in the tail and from the data below it, and goes through
    `fit_tail` as the data did, choice of the cut included. Small values (below 0.1) speak against the power
    law. Tokens are taken as independent: where those of a sequence are alike, the true probability is larger.

    Args:
        spectrum: a `Spectrum`, or the `Moments` of one.
        key: of `jax.random`.
        lower, upper, seen, least_events: as in `fit_tail`, weighted by count.
        replicates: number of replicates; the answer is a multiple of one over it.

    Returns:
        The probability; NaN where there is no tail.

    Raises:
        ValueError: as `fit_tail`.

    Example:
        >>> import jax, jax.numpy as jnp, tsl_jax as tsl
        >>> from tsl_jax.spectrum import Spectrum, tail_goodness
        >>> step = jnp.geomspace(1.0, 1000.0, 40)
        >>> centres = 10.0 * jnp.linspace(0.008, 0.992, 64)[:, None] ** (-1 / 1.5)  # p(a) ∝ a^-2.5 from 10
        >>> losses = 1.0 + 6.0 / (1.0 + (step / centres) ** 4)
        >>> spectrum = Spectrum.from_fits(tsl.fit(tsl.Sigmoid(), step, losses), step)
        >>> float(tail_goodness(spectrum, jax.random.key(0), lower=10.0, upper=200.0, replicates=20)) > 0.1
        True

    Source: Clauset, Shalizi and Newman 2009, section 4.1.
    """
    moments = moments_of(spectrum)
    cuts = cuts_of(moments.grid, lower, upper, seen, least_events)
    return _fitted_goodness(moments, key, cuts, replicates)


@functools.partial(jax.jit, static_argnums=3)
def _fitted_goodness(moments: Moments, key, cuts: Cuts, replicates: int):
    return goodness_of(moments, fit_cut_tail(moments, cuts, "count"), key, cuts, replicates)


@functools.partial(jax.jit, static_argnums=4)
def goodness_of(moments: Moments, tail: Tail, key: Array, cuts: Cuts, replicates: int) -> Float[Array, ""]:
    """`tail_goodness` of a tail that was fitted with these cuts, by count."""
    expected, stop = _expected(moments, tail, cuts)

    def distance(key):
        return tail_of_masses(moments.grid, poisson(key, expected), jnp.ones(()), stop, cuts).distance

    return _fraction_further(tail, jax.lax.map(distance, jax.random.split(key, replicates)))


def known_goodness_of(
    moments: Moments,
    tail: Tail,
    key: Array,
    cuts: Cuts,
    replicates: int,
    drawn: Callable[[Array, np.ndarray, int], np.ndarray] | None = None,
) -> np.ndarray:
    """The same of moments and a tail in NumPy, by the program that fitted the tail; other draws, as good.

    Args:
        moments, tail, key, cuts, replicates: as there.
        drawn: the replicates (replicates, bins) by a key and the events to expect (bins,); by default NumPy's, as a
            program that draws takes seconds to compile.
    """
    expected, stop = _expected(moments, tail, cuts)
    rows = (drawn or known_draws)(key, expected, replicates)
    found = tails_of_rows(moments.grid, rows, np.ones(replicates), np.full(replicates, stop), cuts)
    return _fraction_further(tail, found.distance)


def known_draws(key: Array, expected: np.ndarray, replicates: int) -> np.ndarray:
    """Poisson numbers (replicates, bins) by NumPy, of which a key of `jax.random` decides."""
    return np.random.default_rng(np.asarray(jax.random.key_data(key))).poisson(expected, (replicates, len(expected)))


def _expected(moments: Moments, tail: Tail, cuts: Cuts):
    """Events to expect in each bin: by the tail's law within it, by the data elsewhere; and where the tail may end."""
    xp, masses = module_of(moments.count), falling(moments, "count")
    stop = seen_until(moments, cuts.seen) if cuts.stop is None else cuts.stop
    y, log_width = (xp.asarray(values, xp.float32) for values in log_axis(moments.grid))
    inside = _inside(moments, tail)
    p = xp.exp(power_law_on_bins(tail.exponent, y, log_width, inside))
    expected = xp.where(inside, p * xp.sum(xp.where(inside, masses, 0)), masses)
    return xp.where(xp.isfinite(tail.exponent), expected, 0), stop


def _fraction_further(tail: Tail, distances):
    """Fraction of the replicates that lie further from their law; one without a tail does not count."""
    xp = module_of(distances)
    fraction = xp.sum(distances >= tail.distance) / xp.maximum(xp.sum(xp.isfinite(distances)), 1)
    return xp.where(xp.isfinite(tail.exponent), fraction, xp.nan)


def _erfc(value):
    if isinstance(value, np.ndarray | np.generic):
        from scipy.special import erfc

        return erfc(value)
    return jax.scipy.special.erfc(value)


@pytree
class Rival:
    """Another law for the same tail, truncated to it and fitted by maximum likelihood.

    Attributes:
        log_ratio: log-likelihood of the power law less that of the rival, all events of the tail; positive values
            favour the power law.
        z: the same over its standard deviation (Vuong 1989).
        p: probability of a ratio of this size if both laws are equally far from the truth; for the lognormal law,
            which contains the power law, that of a ratio this far below 0 if the power law is true.
    """

    log_ratio: Float[Array, ""]
    z: Float[Array, ""]
    p: Float[Array, ""]


@with_own_switches
def tail_rivals(
    spectrum: Spectrum | Moments,
    tail: Tail,
) -> dict[str, Rival]:
    """Compare the power law of a tail with a lognormal and an exponential law over the same range.

    Args:
        spectrum: a `Spectrum`, or the `Moments` of one or of a replicate.
        tail: of `fit_tail`, weighted by count.

    Returns:
        `Rival` by name, ``"lognormal"`` and ``"exponential"``; NaN where there is no tail.

    Example:
        >>> import jax.numpy as jnp, tsl_jax as tsl
        >>> from tsl_jax.spectrum import Spectrum, fit_tail, tail_rivals
        >>> step = jnp.geomspace(1.0, 1000.0, 40)
        >>> centres = 10.0 * jnp.linspace(0.008, 0.992, 64)[:, None] ** (-1 / 1.5)  # p(a) ∝ a^-2.5 from 10
        >>> losses = 1.0 + 6.0 / (1.0 + (step / centres) ** 4)
        >>> spectrum = Spectrum.from_fits(tsl.fit(tsl.Sigmoid(), step, losses), step)
        >>> tail = fit_tail(spectrum, lower=10.0, upper=200.0)
        >>> float(tail_rivals(spectrum, tail)["exponential"].log_ratio) > 0  # the power law is more likely
        True

    Source: Clauset, Shalizi and Newman 2009, section 5; Vuong 1989.
    """
    return _rivals(moments_of(spectrum), tail)


@compiled()
def _rivals(moments: Moments, tail: Tail) -> dict[str, Rival]:
    xp = module_of(moments.count)
    masses = falling(moments, "count")
    y, log_width = (xp.asarray(values, xp.float32) for values in log_axis(moments.grid))
    inside = _inside(moments, tail)
    number = xp.sum(xp.where(inside, masses, 0))
    fraction = xp.where(inside, masses, 0) / xp.maximum(number, 1e-30)
    log_p = power_law_on_bins(tail.exponent, y, log_width, inside)
    result = {}
    for law in LAWS:
        if law == "power law":
            continue
        other, theta = law_on_bins(law, masses, y, log_width, inside)
        if law == "lognormal":  # its curve over ln(a) bends down; where the data bend up it is a power law at best
            other = xp.where(theta[1] < 0, other, log_p)
        difference = log_p - other
        # Both sum to 1 but for rounding, which millions of events would make a likelihood of: the power law's mean
        # of the other's relative density is 1.
        p = xp.where(inside, xp.exp(log_p), 0)
        density = xp.expm1(xp.where(p > 0, -difference, 0))
        difference = difference + xp.log1p(xp.sum(p * density) / xp.maximum(xp.sum(p), 1e-30))
        mean = xp.sum(fraction * difference)
        std = xp.sqrt(xp.sum(fraction * xp.square(difference - mean)))
        z = xp.where(std > 0, xp.sqrt(number) * mean / xp.where(std > 0, std, 1), 0)
        ratio = number * mean
        if law == "lognormal":
            # Twice the ratio is 0 in half of all cases and chi-squared with one degree of freedom in the other half.
            p = xp.where(ratio < 0, 0.5 * _erfc(xp.sqrt(xp.maximum(-ratio, 0))), 1.0)
        else:
            p = _erfc(xp.abs(z) / xp.sqrt(2.0))
        known = xp.isfinite(tail.exponent)
        result[law] = jax.tree.map(lambda v, known=known: xp.where(known, v, xp.nan), Rival(ratio, z, p))
    return result


def _inside(moments: Moments, tail: Tail):
    xp = module_of(moments.count)
    middle = xp.asarray(moments.grid.axis(moments.grid.centres), xp.float32)
    return (middle > tail.lower) & (middle < tail.upper)


def poisson(key, mean: Float[Array, " bins"]) -> Float[Array, " bins"]:
    """Poisson numbers as float32; above 10^5 rounded normal ones."""
    few = jax.random.poisson(key, jnp.minimum(mean, _MANY)).astype(jnp.float32)
    many = jnp.round(mean + jnp.sqrt(mean) * jax.random.normal(key, mean.shape))
    return jnp.where(mean > _MANY, jnp.maximum(many, 0), few)
